"""Ray's token: a private one for each state folder, unless the user has chosen.

Ray's own port is open on every network address of the machine, and a client that may use
it may run code. So the local stack never runs without a token by itself.
"""

from collections.abc import Mapping
from pathlib import Path

from operations.errors import StackError
from operations.local_stack.state_folder import StateFolder

_CHOICES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_DEFAULT_FILE = Path(".ray") / "auth_token"
# Replicas listen on every address for gRPC, and Ray has no option for it; a user may choose else.
_FRONT_ONLY = {"MLOPS_SERVER__FRONT_ONLY": "true"}


def auth_environment(environ: Mapping[str, str], state: StateFolder) -> dict[str, str]:
    """Variables to add to ``environ``; none if it already configures authentication."""
    if chooses_token(environ):
        return {} if _has_none(environ) else dict(_FRONT_ONLY)
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(state.token_file())}
    return token | _FRONT_ONLY


def chooses_token(environ: Mapping[str, str]) -> bool:
    """Whether the environment says how to authenticate."""
    return any(environ.get(name) for name in _CHOICES)


def open_ports(environ: Mapping[str, str]) -> str:
    """What is to be said of ports that Ray opens on every address, by Ray's environment."""
    if environ.get("MLOPS_SERVER__FRONT_ONLY") == "true":
        return "Ray's ports are open on every address of this machine: they ask for the token"
    return (
        "Ray's ports are open on every address of this machine, and replicas answer whoever "
        "reaches their gRPC port"
    )


def read_token(environ: Mapping[str, str]) -> str:
    """The token that a Ray with this environment asks for; empty when it asks for none.

    Raises:
        StackError: There should be one, and it cannot be read.
    """
    if _has_none(environ):
        return ""
    if token := environ.get("RAY_AUTH_TOKEN"):
        return token
    file = Path(environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / _DEFAULT_FILE)
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise StackError(f"Ray's token cannot be read from {file}: {error.strerror}") from error


def _has_none(environ: Mapping[str, str]) -> bool:
    return environ.get("RAY_AUTH_MODE", "").lower() == "disabled"
