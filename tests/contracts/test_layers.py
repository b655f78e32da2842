"""Which module may import what, and who may read the environment."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("configs", "registry", "deployments", "pipelines", "operations", "cli")

# Framework → patterns of the files that may import it, wherever in the file the import stands.
# A ``*`` stands for anything, slashes included.
EDGES = {
    "ray": (
        "deployments/app.py",
        "deployments/handles.py",
        "deployments/serve_options.py",
        "deployments/*/deployment.py",
        "pipelines/scoring/*",
        "operations/lint.py",
    ),
    "starlette": (
        "deployments/access/*",
        "deployments/asgi/*",
        "deployments/ingress/*",
        "deployments/oip/*",
        "deployments/jobs/*",
        "deployments/rollout/registry_routes.py",
        "registry/api/*",
    ),
    "fastapi": (
        "deployments/asgi/*",
        "deployments/ingress/*",
        "deployments/jobs/*",
        "deployments/rollout/registry_routes.py",
        "registry/api/*",
    ),
    "onnxruntime": ("deployments/model/engines/*", "pipelines/*", "operations/doctor/*"),
    "torch": ("deployments/model/engines/*", "pipelines/*", "operations/doctor/machine.py"),
    "transformers": ("deployments/model/engines/*", "pipelines/*"),
    "mlflow": ("registry/backend/connection.py",),
    "redis": ("deployments/clients/redis.py", "deployments/cache/redis.py", "operations/*"),
    "kafka": ("deployments/stream/*", "operations/*", "cli/dlq.py"),
    "sqlalchemy": ("deployments/jobs/*", "registry/backend/connection.py"),
    "opentelemetry": ("deployments/telemetry/otlp.py",),
    "fsspec": ("pipelines/scoring/*",),
}
# Besides the one reader: MLflow takes some of its settings from the environment alone, so the
# connection sets them before the import; a launcher hands its children an environment; Ray's
# token is where Ray itself looks for it.
ENVIRONMENT = (
    "configs/load.py",
    "registry/backend/connection.py",
    "cli/serve.py",
    "cli/connections.py",
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
            assert any(map(partial(fnmatchcase, name), places)), f"{name} imports {framework}"
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
