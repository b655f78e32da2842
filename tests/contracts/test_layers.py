"""Which module may import what, and who may read the environment."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("configs", "registry", "deployments", "pipelines")

# Framework → files and folders that may import it, wherever in the file the import stands.
EDGES = {
    "ray": (
        "deployments/app.py",
        "deployments/fleet.py",
        "deployments/ingress.py",
        "deployments/stream.py",
        "deployments/jobs/deployment.py",
        "deployments/metrics.py",
        "deployments/remote.py",
        "deployments/sizes.py",
        "pipelines/",
    ),
    "onnxruntime": ("deployments/engines/", "pipelines/"),
    "torch": ("deployments/engines/", "pipelines/"),
    "transformers": ("deployments/engines/", "pipelines/"),
    "mlflow": ("registry/connection.py",),
    "kafka": ("deployments/streams/", "pipelines/"),
    "sqlalchemy": ("deployments/jobs/", "registry/connection.py"),
    "fsspec": ("pipelines/scoring/",),
}
# Besides the one reader: MLflow takes some of its settings from the environment alone, so the
# connection sets them before the import; a launcher hands its children an environment; Ray's
# token is where Ray itself looks for it.
ENVIRONMENT = (
    "configs/load.py",
    "registry/connection.py",
    "pipelines/serve.py",
    "pipelines/dashboard.py",
)

SOURCES = sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path.is_file()
)


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reads_environment(tree: ast.AST) -> bool:
    names = {"os.environ", "os.getenv", "os.environb", "os.putenv"}
    attributes = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    return bool(names & (attributes | set(imported(tree))))


def test_dependencies_point_from_pipelines_to_configs() -> None:
    # In a process of its own: import-linter turns off the loggers of the one that it runs in.
    script = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    options = ["--no-cache", "--no-logo", "--config", str(ROOT / "pyproject.toml")]
    result = subprocess.run(
        [sys.executable, "-c", script, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_frameworks_stay_at_the_edge(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {module.split(".")[0] for module in imported(tree)}
    for framework, places in EDGES.items():
        if framework in used:
            assert name.startswith(places), f"{name} imports {framework}"
    if reads_environment(tree):
        assert name.startswith(ENVIRONMENT), f"{name} touches the environment"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import os\nos.environ['A']", True),
        ("import os\ndef f():\n    return os.getenv('A')", True),
        ("from os import environ", True),
        ("import os\nos.path.join('a')", False),
    ],
)
def test_the_environment_rule_sees_every_way_in(source: str, found: bool) -> None:
    assert reads_environment(ast.parse(source)) is found
