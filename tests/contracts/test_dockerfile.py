"""The Dockerfile is clean, copies what exists, and says what serving needs.

`make image-check` builds and runs it; no container engine is at hand in CI.
"""

import fnmatch
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", TEXT)).splitlines()


def arguments(instruction: str) -> list[list[str]]:
    return [line.split()[1:] for line in INSTRUCTIONS if line.startswith(f"{instruction} ")]


def copied() -> set[str]:
    local = [words for words in arguments("COPY") if not words[0].startswith("--from")]
    return {source for words in local for source in words[:-1]}


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which(
        "hadolint"
    )
    assert hadolint is not None, "pip install .[dev]"
    result = subprocess.run(
        [hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("source", sorted(copied()))
def test_what_is_copied_exists_and_is_not_ignored(source: str) -> None:
    assert (ROOT / source).exists()
    ignored = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#") and fnmatch.fnmatch(source, line.lstrip("!")):
            ignored = not line.startswith("!")
    assert not ignored


def test_all_targets_exist_and_serve_is_the_last() -> None:
    stages = [words[2] for words in arguments("FROM")]
    assert {"train", "mlflow", "serve-gpu"} <= set(stages)
    assert stages[-1] == "serve"


def test_the_base_is_a_build_argument_whose_default_is_pinned() -> None:
    own = {words[2] for words in arguments("FROM")}
    assert {words[0] for words in arguments("FROM")} - own == {"${BASE}"}
    [default] = [words[0] for words in arguments("ARG") if words[0].startswith("BASE=")]
    assert re.fullmatch(r"BASE=python:3\.11\.\d+-slim-\w+", default)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"\nBASE ?= {default.removeprefix('BASE=')}\n" in makefile


@pytest.mark.parametrize(
    ("base", "is_refused"), [("python:3.11", True), (f"python@sha256:{'0' * 64}", False)]
)
def test_a_release_names_its_base_by_digest(base: str, is_refused: bool) -> None:
    environ = {"PATH": "/usr/bin:/bin", "REQUIRE_DIGEST": "1", "ENGINE": "none"}
    done = subprocess.run(
        [str(ROOT / ".ci" / "image"), "serve", base],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert ("names no digest" in done.stderr) is is_refused
    release = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    assert 'REQUIRE_DIGEST: "1"' in release


def test_all_images_run_as_a_plain_user() -> None:
    for stage in re.split(r"(?m)^FROM ", TEXT):
        # serve and serve-gpu are graph with an environment.
        if stage.splitlines()[0].endswith((" AS graph", " AS train", " AS mlflow")):
            assert re.search(r"(?m)^USER [1-9]\d*:[1-9]\d*$", stage)


def test_the_throughput_pair_is_set_together() -> None:
    serve = TEXT.partition("FROM application AS graph")[2]
    assert "RAY_SERVE_ENABLE_HA_PROXY=1" in serve
    assert "RAY_SERVE_THROUGHPUT_OPTIMIZED=1" in serve


def test_the_address_that_the_build_rewrites_is_the_one_in_the_file() -> None:
    text = (ROOT / "serve_config.yaml").read_text(encoding="utf-8")
    assert len(re.findall(r"(?m)^  host: 127\.0\.0\.1$", text)) == 1
    assert yaml.safe_load(text)["http_options"]["port"] == 8000
    assert ":8000/api/v1/health/ready" in TEXT


def test_images_are_labelled_with_this_release() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    labels = [line for line in INSTRUCTIONS if line.startswith("LABEL ")]
    assert len(labels) == 2
    for line in labels:
        assert f'image.version="{project["version"]}"' in line
        assert f'image.licenses="{project["license"]}"' in line
        assert 'image.revision="${REVISION}"' in line
