"""The key by which an ingress knows what its own cluster's HAProxy says of a client.

Made of Ray's token, which every process of the cluster has and nobody else: so HAProxy can name
the client's address in a header that no client can write. Imports the standard library alone.
"""

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path

# HAProxy sends the key, a space and the client's address; a client's own is replaced.
FRONT_HEADER = "x-sentigraph-front"
_DEFAULT_FILE = Path(".ray") / "auth_token"


def front_key(environ: Mapping[str, str]) -> str:
    """The key; empty where Ray has no token, and then no address is believed.

    Args:
        environ: Of a process of the cluster.
    """
    token = _token(environ)
    if not token:
        return ""
    return hmac.new(token.encode("utf-8"), b"sentigraph front", hashlib.sha256).hexdigest()[:32]


def _token(environ: Mapping[str, str]) -> str:
    if environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return ""
    if token := environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    file = Path(environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / _DEFAULT_FILE)
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
