"""Ray's dashboard for the verbs: its address and its token."""

import argparse
import os
from pathlib import Path
from urllib.parse import urlsplit

from configs.load import find_home
from operations.clients.http_client import LOCAL_HOSTS
from operations.clients.ray_dashboard import RayDashboard
from operations.errors import StackError
from operations.local_stack.ray_auth import chooses_token, read_token
from operations.local_stack.state_folder import StateFolder


def add_dashboard_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares where Ray's dashboard is and what opens it."""
    parser.add_argument(
        "--dashboard-url", default="http://127.0.0.1:8265", help="of Ray; empty asks none"
    )
    parser.add_argument(
        "--ray-token-file",
        type=Path,
        help="Ray's token (else the environment's, a running serve's, or ~/.ray/auth_token)",
    )


def dashboard_of(args: argparse.Namespace) -> RayDashboard | None:
    """The dashboard that ``add_dashboard_arguments`` names; None for an empty address.

    Raises:
        StackError: The token's file was named and cannot be read.
    """
    url: str = args.dashboard_url
    if not url:
        return None
    if args.ray_token_file is not None:
        return RayDashboard(url, read_token({"RAY_AUTH_TOKEN_PATH": str(args.ray_token_file)}))
    environ = dict(os.environ)
    own = StateFolder(find_home(environ) / ".sentigraph").running_token()
    # `sentigraph serve` chooses in the same order. A token of this machine is shown to it alone.
    if own and not chooses_token(environ) and urlsplit(url).hostname in LOCAL_HOSTS:
        environ["RAY_AUTH_TOKEN_PATH"] = str(own)
    try:
        return RayDashboard(url, read_token(environ))
    except StackError:
        return RayDashboard(url, "")
