"""``sentigraph doctor`` as it is typed: which folder, which ports and which file it judges."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cli.__main__ import main
from operations.local_stack.state_folder import StateFolder


def doctor(capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, str]]:
    """The findings, with a server that is away."""
    main(["doctor", "--json", *options])
    found: list[dict[str, str]] = json.loads(capsys.readouterr().out)
    return found


def of(found: list[dict[str, str]], check: str) -> list[tuple[str, str]]:
    return [(each["level"], each["said"]) for each in found if each["check"] == check]


def test_the_folder_that_is_named_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    nothing_can_be_made_here = "/proc/self/state"
    options = ("--url", "http://127.0.0.1:9", "--state-dir", nothing_can_be_made_here)
    disk = of(doctor(capsys, *options), "disk")
    assert (disk[0][0], disk[0][1].startswith(f"{nothing_can_be_made_here}: ")) == ("FAIL", True)
    assert not any(".sentigraph" in said for _, said in disk)


def test_the_ports_of_the_server_of_the_folder_are_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = StateFolder(tmp_path)
    with state.claim("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"):
        state.serve_config.write_text(yaml.safe_dump({"grpc_options": {"port": 4}}))
        ports = of(doctor(capsys, "--state-dir", str(tmp_path)), "ports")
    said = "HTTP 1, MLflow 3, dashboard 2, gRPC 4"
    assert [(level, text.partition(";")[0]) for level, text in ports] == [("OK", said)]


def test_a_fault_in_dotenv_is_said_once_and_blamed_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SENTIGRAPH_HOME", str(tmp_path))
    monkeypatch.setenv("MLOPS_JOBS__MAX_STORED_BYTES", "many")
    dotenv, config = tmp_path / ".env", tmp_path / "serve_config.yaml"
    dotenv.write_text("MLOPS_JOBS__MAX_JOBBS=4\nMLOPS_LIMITS__MAX_BATCH_TEXTS=-1\n")
    application = {"import_path": "deployments.app:build", "args": {"profile": "local"}}
    config.write_text(yaml.safe_dump({"applications": [application]}))
    found = doctor(capsys, "--url", "http://127.0.0.1:9", "--config", str(config))
    advised = {each["said"].partition(" ")[0]: each["advice"] for each in found}
    assert len(found) == len(advised) == 4, found  # three faults, and a server that is away
    for name, where in {
        "MLOPS_JOBS__MAX_JOBBS": f"correct {dotenv};",
        "MLOPS_LIMITS__MAX_BATCH_TEXTS=-1": f"correct {dotenv};",
        "MLOPS_JOBS__MAX_STORED_BYTES=many": f"correct the environment or {dotenv};",
    }.items():
        assert advised[name].startswith(where), found
    assert main(["lint", str(config)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2, said
    assert all(line.startswith(f"{dotenv}: MLOPS_") for line in said), said


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_had_enough_ends_a_verb_quietly(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    verb = ["status", "--url", "http://127.0.0.1:9", "--dashboard-url", ""]
    ended = subprocess.run(
        [sys.executable, "-m", "cli", *verb],
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")
