"""Terraform's own core with stub providers, in a copy of terraform/; no network, no cloud."""

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCHEMAS = Path(__file__).parent / "schemas"
PYTHON = ROOT / ".venv" / "tools" / "terraform" / "bin" / "python"
HOST = "registry.terraform.io"

Terraform = Callable[..., subprocess.CompletedProcess[str]]


def missing() -> str | None:
    """Why Terraform cannot be run here."""
    if shutil.which("terraform") is None:
        return "the terraform binary is not on the PATH"
    if not PYTHON.is_file():
        return "the stub providers' environment is missing: make test-cluster"
    return None


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of terraform/ whose roots are initialised, beside a mirror of stub providers."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("terraform")
    for table in SCHEMAS.glob("*.json.gz"):
        name = table.name.partition(".")[0]
        release = json.loads(gzip.decompress(table.read_bytes()))["version"]
        place = folder / "mirror" / HOST / "hashicorp" / name / release / "linux_amd64"
        place.mkdir(parents=True)
        script = place / f"terraform-provider-{name}_v{release}"
        stub = Path(__file__).parent / "stub_provider.py"
        script.write_text(f'#!/bin/sh\nexec "{PYTHON}" "{stub}" "{table}"\n', encoding="utf-8")
        script.chmod(0o755)
    mirror = f'path = "{folder / "mirror"}"\n include = ["{HOST}/*/*"]'
    (folder / "terraformrc").write_text(
        f"provider_installation {{\n filesystem_mirror {{\n {mirror}\n }}\n}}\n", encoding="utf-8"
    )
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*")
    shutil.copytree(ROOT / "terraform", folder / "terraform", ignore=ignored)
    return folder


@pytest.fixture(scope="session")
def terraform(workspace: Path) -> Terraform:
    """``terraform(root, *arguments)`` in the copy; the root is initialised on first use."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(workspace),
        "TF_CLI_CONFIG_FILE": str(workspace / "terraformrc"),
        "TF_IN_AUTOMATION": "1",
        "CHECKPOINT_DISABLE": "1",
    }

    def run(root: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        folder = workspace / "terraform" / root
        command = ["terraform", *arguments]
        if root and not (folder / ".terraform").exists():
            # Local state: the real backend is a bucket that nobody reaches from here.
            override = 'terraform {\n  backend "local" {}\n}\n'
            (folder / "backend_override.tf").write_text(override, encoding="utf-8")
            init = ["terraform", "init", "-input=false", "-no-color"]
            subprocess.run(init, cwd=folder, env=environment, check=True, capture_output=True)
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    return run
