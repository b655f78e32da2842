"""The server and Ray's dashboard for the verbs: their addresses, an API key, Ray's token.

Where a `sentigraph serve` runs in the state folder, the addresses are its own.
"""

import argparse
import os
from pathlib import Path
from urllib.parse import urlsplit

from configs.load import find_home
from operations.clients.http_client import LOCAL_HOSTS
from operations.clients.ray_dashboard import RayDashboard
from operations.clients.server import Server
from operations.errors import StackError
from operations.local_stack.ray_auth import chooses_token, read_token
from operations.local_stack.state_folder import StateFolder

_URL, _DASHBOARD_URL = "http://127.0.0.1:8000", "http://127.0.0.1:8265"
_SERVER_TIMEOUT_S = 60.0


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the server's address and its key."""
    parser.add_argument("--url", help=f"server to ask (a running serve's, else {_URL})")
    parser.add_argument("--key-file", type=Path, help="file that holds an API key")
    parser.add_argument(
        "--state-dir", type=Path, help="that the serve has (.sentigraph of this checkout or folder)"
    )


def open_server(args: argparse.Namespace, timeout_s: float = _SERVER_TIMEOUT_S) -> Server:
    """The server that ``add_server_arguments`` names.

    Raises:
        StackError: The key's file cannot be read.
    """
    if args.url is None:
        running = state_folder(args).running()
        here = running is not None and running.url.startswith("http")
        args.url = running.url if running and here else _URL
    return Server(args, timeout_s)


def runs_here(args: argparse.Namespace) -> bool:
    """Whether the `sentigraph serve` of the state folder is the server that is asked."""
    running = state_folder(args).running()
    return running is not None and running.url == args.url


def mlflow_of(args: argparse.Namespace) -> str:
    """Address of the MLflow that the server which is asked has started here; empty without one."""
    running = state_folder(args).running()
    return running.mlflow_url if running is not None and running.url == args.url else ""


def state_folder(args: argparse.Namespace) -> StateFolder:
    """Of the options, else of the home folder."""
    return StateFolder(args.state_dir or find_home(dict(os.environ)) / ".sentigraph")


def add_dashboard_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares where Ray's dashboard is and what opens it, beside ``add_server_arguments``."""
    parser.add_argument(
        "--dashboard-url",
        help=f"of Ray (a running serve's, else {_DASHBOARD_URL}); empty asks none",
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
    state = state_folder(args)
    running = state.running()
    url: str | None = args.dashboard_url
    if url is None:
        url = (running.dashboard_url if running else "") or _DASHBOARD_URL
    if not url:
        return None
    if args.ray_token_file is not None:
        return RayDashboard(url, read_token({"RAY_AUTH_TOKEN_PATH": str(args.ray_token_file)}))
    environ = dict(os.environ)
    own = state.running_token()
    # `sentigraph serve` chooses in the same order. A token of this machine is shown to it alone.
    if own and not chooses_token(environ) and urlsplit(url).hostname in LOCAL_HOSTS:
        environ["RAY_AUTH_TOKEN_PATH"] = str(own)
    try:
        return RayDashboard(url, read_token(environ))
    except StackError:
        return RayDashboard(url, "")
