"""A login for the local MLflow server, where callers of the application need a key.

Whoever may use MLflow may change and delete models, so it is not left open beside a gate.
"""

import importlib.util
from pathlib import Path

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
