"""CI files: steps are make targets, actions are pinned, rights are narrow, schemas accept them."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github" / "workflows" / "ci.yml"
RELEASE = ROOT / ".github" / "workflows" / "release.yml"
GITLAB = ROOT / ".gitlab-ci.yml"
HOOKS = ROOT / ".pre-commit-config.yaml"
TARGETS = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found


JOBS: dict[str, Any] = {n: job for n, job in read(GITHUB)["jobs"].items() if n != "ok"}


def commands() -> dict[str, str]:
    return {name: job["steps"][-1]["run"] for name, job in JOBS.items()}


def test_each_job_is_one_make_target() -> None:
    for name, command in commands().items():
        make, target = command.split()
        assert (make, target in TARGETS) == ("make", True), name
        assert [set(step) - {"with"} for step in JOBS[name]["steps"][:-1]] == [{"uses"}] * 2


def test_both_files_have_the_same_jobs() -> None:
    words = {"default", "variables", "workflow", "stages"}
    gitlab = {name: job for name, job in read(GITLAB).items() if name not in words}
    assert {name: job["script"] for name, job in gitlab.items()} == {
        name: [command] for name, command in commands().items()
    }
    assert {name: job["timeout"] for name, job in gitlab.items()} == {
        name: f"{job['timeout-minutes']} minutes" for name, job in JOBS.items()
    }


@pytest.mark.parametrize("file", [GITHUB, RELEASE], ids=lambda file: file.name)
def test_actions_are_pinned_by_digest_and_named_by_version(file: Path) -> None:
    used = re.findall(r"uses: (.*)", file.read_text(encoding="utf-8"))
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_rights_are_narrow_and_times_bounded() -> None:
    workflow = read(GITHUB)
    assert workflow["permissions"] == {}
    for job in JOBS.values():
        assert job["permissions"] == {"contents": "read"}
        assert job["steps"][0]["with"] == {"persist-credentials": False}
        assert job["timeout-minutes"] <= 60
    # A caller's text never becomes part of a command.
    assert not [command for command in commands().values() if "${{" in command]


def test_a_release_is_made_of_make_targets_and_writes_only_itself() -> None:
    workflow = read(RELEASE)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        expected = "write" if name == "dist" else "read"
        assert job["permissions"] == {"contents": expected}
        assert job["steps"][0]["with"] == {"persist-credentials": False}
        commands = [step["run"].split() for step in job["steps"] if "run" in step]
        assert commands[0][0] == "make"
        assert commands[0][1] in TARGETS
        assert [command[:3] for command in commands[1:]] in ([], [["gh", "release", "create"]])
    assert "${{" not in " ".join(
        s.get("run", "") for j in workflow["jobs"].values() for s in j["steps"]
    )


def test_a_release_of_another_version_is_refused() -> None:
    done = subprocess.run(
        ["bash", str(ROOT / ".ci" / "dist"), "v99.0.0"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "the tag is v99.0.0" in done.stderr) == (1, True)


def test_ok_needs_every_job_and_succeeds_with_all_of_them_alone() -> None:
    ok = read(GITHUB)["jobs"]["ok"]
    assert (ok["needs"], ok["if"]) == (list(JOBS), "always()")
    [step] = ok["steps"]
    for results, status in (
        (["success"] * len(JOBS), 0),
        (["success", "skipped"], 1),
        (["failure"], 1),
    ):
        done = subprocess.run(
            ["bash", "-c", step["run"]],
            env={"RESULTS": " ".join(results), "PATH": "/usr/bin:/bin"},
            check=False,
        )
        assert done.returncode == status


def test_hooks_are_tools_of_this_environment() -> None:
    for repo in read(HOOKS)["repos"]:
        assert repo["repo"] == "local"
        for hook in repo["hooks"]:
            assert hook["language"] == "system"
            tool = Path(hook["entry"].split()[0])
            assert tool.parent == Path(".venv/bin")
            assert (Path(sys.executable).parent / tool.name).is_file(), tool


@pytest.mark.parametrize(
    ("file", "schema"),
    [
        (GITHUB, "vendor.github-workflows"),
        (RELEASE, "vendor.github-workflows"),
        (GITLAB, "vendor.gitlab-ci"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_published_schemas_accept_the_files(file: Path, schema: str, tmp_path: Path) -> None:
    pytest.importorskip("check_jsonschema", reason="pip install .[cluster]")
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    done = subprocess.run([*check, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    planted = tmp_path / file.name
    text = file.read_text(encoding="utf-8")
    planted.write_text(
        text.replace("timeout-minutes:", "timeout-minute:").replace("script:", "scripts:")
    )
    assert subprocess.run([*check, str(planted)], capture_output=True, check=False).returncode == 1
