"""How the local stack starts MLflow: with a login, where callers of the application need a key.

Whoever may use MLflow may change and delete models, so it is not left open beside a gate.
"""

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

from configs.schema.app import AppConfig
from operations.errors import StackError
from operations.local_stack.state_folder import StateFolder

USER = "admin"
_FILE = "mlflow-password"
_CONFIG = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///{database}
admin_username = {user}
admin_password = {password}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
grant_default_workspace_access = false
"""


def mlflow_server(
    config: AppConfig, state: StateFolder, port: int, environ: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of the server.

    Args:
        config: Where the registry is, and whether access is on.
        state: Where its login is kept.
        port: On 127.0.0.1.
        environ: To start from; it gets none of our secrets.

    Raises:
        StackError: What MLflow needs for the login is not installed.
    """
    program = "operations.local_stack.mlflow_program"
    command = [sys.executable, "-m", program, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    # Its log is not rotated: a line for each request would let anybody fill the disk.
    command += ["--uvicorn-opts", "--no-access-log"]
    command += ["--backend-store-uri", config.registry.tracking_uri]
    command += ["--artifacts-destination", config.registry.artifact_root]
    login, secrets = login_options(state) if config.access.required else ([], {})
    kept = {name: value for name, value in environ.items() if not name.startswith("MLOPS_")}
    return command + login, {
        **kept,
        **secrets,
        # Its job runner is seven more processes that outlive it.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def login_options(state: StateFolder) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment that make ``mlflow server`` ask for a login.

    Raises:
        StackError: What MLflow needs for it is not installed.
    """
    if importlib.util.find_spec("flask_wtf") is None:
        raise StackError(
            "access.required=True and MLflow's login needs Flask-WTF, which is not installed: "
            "pip install flask-wtf"
        )
    config = state.private_file(
        "mlflow-login.ini",
        _CONFIG.format(
            database=state.path / "mlflow-login.db",
            user=USER,
            password=password_file(state).read_text(encoding="utf-8"),
        ),
    )
    key = state.token_file("mlflow-session-key").read_text(encoding="utf-8")
    environ = {"MLFLOW_AUTH_CONFIG_PATH": str(config), "MLFLOW_FLASK_SERVER_SECRET_KEY": key}
    return ["--app-name", "basic-auth"], environ


def password_file(state: StateFolder) -> Path:
    """The file with ``USER``'s password; made on the first call."""
    return state.token_file(_FILE)


def login_hint(config: AppConfig, state: StateFolder) -> str:
    """How a person logs in; empty where anybody may."""
    return f"user {USER}, password in {password_file(state)}" if config.access.required else ""
