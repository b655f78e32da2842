"""``sentigraph doctor`` as it is typed: which folder, which ports and which file it judges."""

import json
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
