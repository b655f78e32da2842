"""``sentigraph lite``: one process that answers, without Ray, MLflow or a registry.

For a laptop, a sidecar, Cloud Run, Knative and Container Apps: it takes the port from ``PORT``,
and at SIGTERM answers what is in flight and ends.
"""

import argparse
import os
from pathlib import Path

from configs.errors import ConfigError
from configs.load import load_config

_DRAIN_S = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph lite`."""
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (127.0.0.1)")
    parser.add_argument("--port", type=int, help="to bind (PORT, else 8000)")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="bundle (the bundled model)")
    parser.add_argument("--version", type=int, default=1, help="number that answers name (1)")
    parser.add_argument("--threads", type=int, default=1, help="of the engine (1)")


def main(args: argparse.Namespace) -> int:
    """Serves until a signal; returns the exit status.

    Raises:
        ConfigError: A setting is wrong, or PORT is no number.
        RegistryError: The bundle cannot be opened.
    """
    import uvicorn  # noqa: PLC0415  (not needed for --help)

    from serverless.app import LiteApp  # noqa: PLC0415

    app = LiteApp(load_config(), args.model, version=args.version, threads=args.threads)
    uvicorn.run(
        app,
        host=args.host,
        port=args.port if args.port is not None else _port(),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    app.close()
    return 0


def _port() -> int:
    given = os.environ.get("PORT", "8000")
    if not given.isdigit():
        raise ConfigError("PORT must be a number")
    return int(given)
