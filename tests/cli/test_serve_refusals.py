"""What `sentigraph serve` refuses, word for word; no server is started for it."""

import os
import socket
from pathlib import Path

import pytest

from cli import serve
from cli.__main__ import main
from operations.errors import StackError
from operations.local_stack.stack import Stack, StackSettings
from operations.local_stack.state_folder import StateFolder
from registry.errors import BackendUnavailable

CONFIG = """
http_options: {host: 127.0.0.1, port: 8000}
applications:
  - {name: tiny, route_prefix: /, import_path: "nowhere:build", args: {profile: local}}
"""


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    config = tmp_path / "serve_config.yaml"
    config.write_text(CONFIG)
    return StackSettings(
        environ=dict(os.environ),
        config=config,
        state_dir=tmp_path / "state",
        port=0,
        mlflow_port=0,
        dashboard_port=0,
    )


def start(settings: StackSettings, **changes: object) -> str:
    """The sentence with which a start is refused."""
    names = StackSettings.__slots__
    values = {name: getattr(settings, name) for name in names} | changes
    refusals = (StackError, BackendUnavailable)
    with pytest.raises(refusals) as caught, Stack(StackSettings(**values)):
        pass
    return str(caught.value)


@pytest.mark.parametrize(
    ("field", "option", "variable"),
    [
        ("port", "--port", "PORT"),
        ("grpc_port", "--grpc-port", "GRPC_PORT"),
        ("mlflow_port", "--mlflow-port", "MLFLOW_PORT"),
        ("dashboard_port", "--dashboard-port", "DASHBOARD_PORT"),
    ],
)
def test_a_port_that_is_taken(settings, field, option, variable):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert start(settings, **{field: port}) == (
            f"port {port} is taken by another program: end that program, or choose another "
            f"port with {option} (make serve: {variable}=PORT)"
        )
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert f"{option} $({variable})" in makefile


def test_a_second_start(settings):
    with StateFolder(settings.state_dir).claim("http://127.0.0.1:8000"):
        assert start(settings) == (
            f"sentigraph is already running here (pid {os.getpid()}, http://127.0.0.1:8000): "
            f"use it, or stop it with Ctrl-C in its terminal or kill {os.getpid()}"
        )


def test_a_broken_registry_file(settings):
    file = settings.state_dir / "mlflow.db"
    settings.state_dir.mkdir()
    file.write_text("no database at all")
    assert start(settings) == (
        f"{file} cannot be read as an MLflow registry (file is not a database): restore a copy "
        f"or move it away (mv {file} {file}.broken), then start again"
    )
    assert sorted(p.name for p in (settings.state_dir / "logs").iterdir()) == []


def test_a_state_folder_that_cannot_be_used(settings, tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "state"
    assert start(settings, state_dir=folder) == (
        f"the state folder {folder} cannot be used: Not a directory"
    )


def test_a_configuration_that_is_refused(settings):
    settings.config.write_text(CONFIG.replace("profile: local", "topology: ring"))
    assert "topology" in start(settings)


def test_a_configuration_file_without_application(settings, tmp_path):
    settings.config.write_text("http_options: {port: 8000}\n")
    assert start(settings) == f"{settings.config} has no application: see `sentigraph lint`"
    assert start(settings, config=tmp_path / "none.yaml") == (
        f"{tmp_path / 'none.yaml'} cannot be read: No such file or directory"
    )


def test_the_verb_prints_the_sentence_and_answers_1(settings, capsys, monkeypatch):
    monkeypatch.setattr(serve.signal, "signal", lambda *_: None)
    with StateFolder(settings.state_dir).claim("http://127.0.0.1:8000"):
        status = main(
            ["serve", "--config", str(settings.config), "--state-dir", str(settings.state_dir)]
        )
    assert status == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("sentigraph serve: sentigraph is already running here (pid ")
    assert printed.err.count("\n") == 1
