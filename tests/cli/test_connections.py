"""Which of Ray's tokens a verb sends to the dashboard."""

import argparse
import json
import os
from pathlib import Path

import pytest

from cli.__main__ import main
from cli.connections import (
    add_dashboard_arguments,
    add_server_arguments,
    dashboard_of,
    open_server,
)
from operations.local_stack.state_folder import StateFolder

LOCAL, REMOTE = "http://127.0.0.1:8265", "http://ray.example.com:8265"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and a token of another cluster where Ray itself looks."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SENTIGRAPH_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("rays")
    return tmp_path


def sent(url: str, *options: str) -> str | None:
    parser = argparse.ArgumentParser()
    add_server_arguments(parser)
    add_dashboard_arguments(parser)
    dashboard = dashboard_of(parser.parse_args(["--dashboard-url", url, *options]))
    assert dashboard is not None
    authorization: str | None = dashboard._http.headers.get("Authorization")
    return authorization and authorization.removeprefix("Bearer ")


def test_a_stack_that_runs_here_is_asked_with_its_own_token(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = StateFolder(home / ".sentigraph")
    assert sent(LOCAL) == "rays"
    with state.claim("http://127.0.0.1:8000"):
        own = state.token_file().read_text()
        assert sent(LOCAL) == own
        assert sent(REMOTE) == "rays"
        monkeypatch.setenv("RAY_AUTH_TOKEN", "chosen")
        assert sent(LOCAL) == "chosen"
        monkeypatch.delenv("RAY_AUTH_TOKEN")
    assert sent(LOCAL) == "rays"


def test_a_file_that_is_named_wins_and_none_at_all_is_allowed(home: Path) -> None:
    (home / "named").write_text("named")
    assert sent(LOCAL, "--ray-token-file", str(home / "named")) == "named"
    (home / ".ray" / "auth_token").unlink()
    assert sent(LOCAL) is None
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_stack_with_ports_of_its_own_is_found(home: Path, elsewhere: bool) -> None:
    folder = home / ("elsewhere" if elsewhere else ".sentigraph")
    options = ["--state-dir", str(folder)] if elsewhere else []

    def asked(*more: str) -> tuple[str, str]:
        parser = argparse.ArgumentParser()
        add_server_arguments(parser)
        add_dashboard_arguments(parser)
        args = parser.parse_args([*options, *more])
        dashboard = dashboard_of(args)
        assert dashboard is not None
        return open_server(args).url, dashboard.url

    defaults = ("http://127.0.0.1:8000", LOCAL)
    assert asked() == defaults
    state = StateFolder(folder)
    with state.claim("http://127.0.0.1:8001", "http://127.0.0.1:8266"):
        token = state.token_file().read_text()
        assert asked() == ("http://127.0.0.1:8001", "http://127.0.0.1:8266")
        assert asked("--url", "http://b", "--dashboard-url", "http://c") == ("http://b", "http://c")
        assert sent(LOCAL, *options) == token
        note = json.loads((folder / "running.json").read_text())
        (folder / "running.json").write_text(json.dumps({**note, "pid": 2**31}))
        assert asked() == defaults
    with state.claim("sentigraph restore"):
        assert asked() == defaults


def test_ctrl_c_ends_any_verb_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.openapi.main", interrupted)
    assert main(["openapi"]) == 130
    assert "interrupted" in capsys.readouterr().err
