"""Which module may import what, and who may read the environment."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("configs", "registry", "deployments", "pipelines", "operations", "cli", "serverless")

# Framework → patterns of the files that may import it, wherever in the file the import stands.
# A ``*`` stands for anything, slashes included.
EDGES = {
    "ray": (
        "deployments/app.py",
        "deployments/fused.py",
        "deployments/transport/handles.py",
        "deployments/transport/stage_handles.py",
        "deployments/transport/serve_controller.py",
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
        "deployments/insight/*",
        "deployments/jobs/*",
        "deployments/rollout/registry_routes.py",
        "registry/api/*",
        "serverless/app.py",
    ),
    "fastapi": (
        "deployments/asgi/*",
        "deployments/ingress/*",
        "deployments/insight/*",
        "deployments/jobs/*",
        "deployments/rollout/registry_routes.py",
        "registry/api/*",
    ),
    "uvicorn": ("deployments/ingress/fast_protocol.py", "serverless/command.py"),
    "onnxruntime": ("deployments/model/engines/*", "pipelines/*", "operations/doctor/*"),
    "torch": ("deployments/model/engines/*", "pipelines/*", "operations/doctor/machine.py"),
    "transformers": ("deployments/model/engines/*", "pipelines/*"),
    "mlflow": ("registry/backend/connection.py", "operations/local_stack/mlflow_program.py"),
    "redis": ("deployments/clients/redis.py", "deployments/cache/redis.py", "operations/*"),
    "kafka": ("deployments/stream/*", "operations/*"),
    "sqlalchemy": (
        "deployments/clients/database.py",
        "deployments/insight/*",
        "deployments/jobs/*",
        "registry/backend/connection.py",
    ),
    "opentelemetry": ("deployments/telemetry/otlp.py",),
    "fsspec": ("pipelines/scoring/*",),
}
# Besides the one reader: MLflow takes some of its settings from the environment alone, so the
# connection sets them before the import; a launcher hands its children an environment; Ray's
# token is where Ray itself looks for it; a backup and the
# doctor find what the launcher would start.
ENVIRONMENT = (
    "operations/backup/places.py",
    "configs/load.py",
    "registry/backend/connection.py",
    "cli/doctor.py",
    "cli/serve.py",
    "operations/local_stack/mlflow_program.py",
    "cli/connections.py",
    "operations/front/haproxy.py",
    # The platform says there which port it wants.
    "serverless/command.py",
)

LINTED = (*PACKAGES, "monitoring", "benchmarks", "console")
# Contract → a file and an import that it forbids.
PLANTED = {
    "the house": ("registry/records.py", "import deployments.errors"),
    "deployments: no deployment imports its neighbour": (
        "deployments/tokenizer/replica.py",
        "import deployments.model.replica",
    ),
    "registry": ("registry/bundles/bundle.py", "import registry.catalog.search"),
    "pipelines": ("pipelines/training/train.py", "import pipelines.evaluation.report"),
    "operations": ("operations/clients/server.py", "import operations.lint"),
    "serverless": ("serverless/stages.py", "import serverless.app"),
    "serverless runs without Ray and FastAPI": (
        "serverless/app.py",
        "import deployments.transport.handles",
    ),
    "configs": ("configs/schema/jobs.py", "import configs.load"),
    "monitoring": ("monitoring/panels.py", "import monitoring.series"),
    "benchmarks": ("benchmarks/loadgen/arrivals.py", "import benchmarks.comparison.run"),
    "jobs is entered by its deployment and routes": (
        "deployments/app.py",
        "import deployments.jobs.store",
    ),
    "stream is entered by its deployment and the dead-letter topic": (
        "deployments/app.py",
        "import deployments.stream.consumer",
    ),
    "rollout is entered by its deployment and the registry's routes": (
        "deployments/app.py",
        "import deployments.rollout.reconciler",
    ),
    "access is entered by its middleware, roles and addresses": (
        "deployments/app.py",
        "import deployments.access.rate_limit",
    ),
    "oip is entered by its routes and its service": (
        "deployments/app.py",
        "import deployments.oip.codec",
    ),
    "canary is entered by its observer": (
        "deployments/app.py",
        "import deployments.canary.shadow",
    ),
    "insight is entered by its deployment and routes": (
        "deployments/app.py",
        "import deployments.insight.store",
    ),
}
# Entries of a folder that a reader takes in at one look.
MOST_ENTRIES = {
    "deployments": 28,
    "registry": 11,
    "pipelines": 11,
    "configs": 9,
    "benchmarks": 12,
    "operations": 8,
    # A module for each verb.
    "cli": 24,
}
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


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    # In a process of its own: import-linter turns off the loggers of the one that it runs in.
    script = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    options = ["--no-cache", "--no-logo", "--config", str(folder / "pyproject.toml")]
    return subprocess.run(
        [sys.executable, "-c", script, *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_import_keeps_the_contracts() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_planted_import_breaks_its_contract(tmp_path: Path) -> None:
    for package in LINTED:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=_only_python)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, line in PLANTED.values():
        with (tmp_path / file).open("a", encoding="utf-8") as source:
            source.write(f"\n{line}\n")
    result = lint_imports(tmp_path)
    states = dict(re.findall(r"^(.*) (KEPT|BROKEN)$", result.stdout, re.MULTILINE))
    assert states.keys() == PLANTED.keys(), "a contract without a planted import, or the other way"
    assert {name for name, state in states.items() if state == "KEPT"} == set()


def test_a_package_without_a_layer_is_refused(tmp_path: Path) -> None:
    for package in LINTED:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=_only_python)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "deployments" / "helpers").mkdir()
    (tmp_path / "deployments" / "helpers" / "__init__.py").write_text("")
    result = lint_imports(tmp_path)
    assert result.returncode != 0
    assert "helpers" in result.stdout + result.stderr


def test_no_folder_and_no_file_is_too_large() -> None:
    for package, most in MOST_ENTRIES.items():
        entries = [
            path
            for path in (ROOT / package).iterdir()
            if path.name != "__init__.py" and holds_files(path)
        ]
        assert len(entries) <= most, f"{package}: {len(entries)} entries"
    for package in LINTED:
        for path in (ROOT / package).rglob("*.py"):
            lines = path.read_text(encoding="utf-8").count("\n")
            assert lines <= 300, f"{path.relative_to(ROOT)}: {lines} lines"


def holds_files(path: Path) -> bool:
    """Whether it is a file or a folder of files; bytecode that a move leaves behind is neither."""
    if path.is_file():
        return True
    return any(f.is_file() and f.parent.name != "__pycache__" for f in path.rglob("*"))


def _only_python(folder: str, names: list[str]) -> list[str]:
    return [
        name
        for name in names
        if name == "__pycache__" or not (name.endswith(".py") or (Path(folder) / name).is_dir())
    ]


def misplaced(name: str, tree: ast.AST) -> list[str]:
    """What a file imports or reads that only other files may."""
    used = {module.split(".")[0] for module in imported(tree)}
    found = [
        f"{name} imports {framework}"
        for framework, places in EDGES.items()
        if framework in used and not any(fnmatchcase(name, place) for place in places)
    ]
    if reads_environment(tree) and not name.startswith(ENVIRONMENT):
        found.append(f"{name} touches the environment")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_frameworks_stay_at_the_edge(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    assert misplaced(name, ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("framework", EDGES)
def test_a_planted_framework_is_found(framework: str) -> None:
    tree = ast.parse(f"def f():\n    from {framework} import thing")
    name = "deployments/batching/planner.py"
    assert misplaced(name, tree) == [f"{name} imports {framework}"]


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
