"""``sentigraph serve``: everything on this machine with one command, until Ctrl-C.

Parses the options, shows progress on stderr and the addresses on stdout; ``local_stack/stack.py``
does the work.
"""

import argparse
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from configs.sources.shipped_files import shipped_file
from operations.local_stack.monitoring import address, hook
from operations.local_stack.stack import Stack, StackSettings

_TEXT = "The delivery was late, but support was wonderful."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph serve`."""
    parser.add_argument("--port", type=int, default=8000, help="of the application (8000)")
    parser.add_argument("--grpc-port", type=int, default=9000, help="of its gRPC server (9000)")
    parser.add_argument("--mlflow-port", type=int, default=5000, help="of the MLflow UI (5000)")
    parser.add_argument("--dashboard-port", type=int, default=8265, help="of Ray's (8265)")
    parser.add_argument(
        "--config",
        type=Path,
        default=shipped_file("serve_config.yaml"),
        help="another serve_config.yaml",
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        help="registry, logs and bundles (.sentigraph of this checkout or folder)",
    )
    parser.add_argument("--num-gpus", type=int, help="GPUs for Ray (default: it counts them)")
    parser.add_argument(
        "--grafana", type=address, metavar="URL", help="its panels appear in the Ray dashboard"
    )
    parser.add_argument(
        "--prometheus", type=address, metavar="URL", help="where that Grafana's series come from"
    )


def main(args: argparse.Namespace) -> int:
    """Starts, prints the addresses, and runs until a signal; returns the exit status.

    Raises:
        StackError: Something is in the way, or a server ended.
        RegistryError: The registry cannot be used.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop_once)
    settings = StackSettings(
        environ={**os.environ, **hook(args.grafana, args.prometheus)},
        config=args.config,
        state_dir=args.state_dir,
        port=args.port,
        mlflow_port=args.mlflow_port,
        dashboard_port=args.dashboard_port,
        grpc_port=args.grpc_port,
        num_gpus=args.num_gpus,
    )
    try:
        with Stack(settings, on_step=StepPrinter()) as stack:
            print(addresses(stack), flush=True)
            stack.wait()
    except KeyboardInterrupt:
        pass
    return 0


class StepPrinter:
    """Prints each step to stderr with the seconds since the first."""

    def __init__(self) -> None:
        self._started_s = time.monotonic()

    def __call__(self, text: str) -> None:
        """Prints one line."""
        print(f"{time.monotonic() - self._started_s:6.1f} s  {text}", file=sys.stderr, flush=True)


def addresses(stack: Stack) -> str:
    """The addresses and a command to try, for a person."""
    body = shlex.quote(f'{{"text": "{_TEXT}"}}')
    token = stack.environ.get("RAY_AUTH_TOKEN_PATH")
    server = stack.config.server
    header = "-H 'content-type: application/json'"
    header += " -H 'X-API-Key: …'" if stack.config.access.required else ""
    first = f"Open {stack.url}/console in a browser, or:" if server.console_enabled else "Try it:"
    return "\n".join(
        [
            "",
            *([f"  console        {stack.url}/console"] if server.console_enabled else []),
            *([f"  API            {stack.url}/api/v1/docs"] if server.docs_enabled else []),
            f"  over gRPC      {stack.grpc_address}",
            f"  MLflow         {stack.mlflow_url}",
            *([f"                 login: {stack.mlflow_login}"] if stack.mlflow_login else []),
            f"  Ray dashboard  {stack.dashboard_url}",
            *([f"                 it asks for the token in {token}"] if token else []),
            "",
            f"  {first}",
            f"  curl -s {stack.url}/api/v1/predict {header} -d {body}",
            "",
            "  Ctrl-C stops everything.",
        ]
    )


def _stop_once(number: int, frame: FrameType | None) -> None:
    # What follows is bounded; a second signal must not interrupt it half-way.
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt
