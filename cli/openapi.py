"""``sentigraph openapi``: the OpenAPI document on stdout, without a server.

It is that of a server with the default settings whose callers need a credential.
"""

import argparse
import json
from typing import TYPE_CHECKING, cast

from configs.schema.app import AppConfig
from deployments.app import mounts
from deployments.ingress.routes import build_app

if TYPE_CHECKING:
    from deployments.ingress.deployment import Ingress


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph openapi`: there are none."""


def main(_args: argparse.Namespace) -> int:
    """Prints the document, returns the exit status."""
    print(render(), end="")
    return 0


def render() -> str:
    """The document as indented JSON."""
    config = AppConfig()
    access = config.access.model_copy(update={"required": True})
    config = config.model_copy(update={"access": access})
    routes = [
        route for mount, _ in mounts(config, None, None, None) for route in mount.routes(config)
    ]
    # No route is called, so no replica is needed behind them.
    document = build_app(config, cast("Ingress", None), routes).openapi()
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
