"""Fifth step: puts a bundle into the registry as a new version in stage `draft`.

A bundle that is already there is not stored twice. `--alias champion` makes it the version that the
next deployment serves.
"""

from __future__ import annotations

import argparse
import getpass
import json
from dataclasses import asdict
from pathlib import Path

from pipelines.tracking import add_tracking_arguments
from registry.bundles.bundle import open_bundle
from registry.model_registry import ModelRegistry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph register`."""
    parser.add_argument(
        "--bundle",
        type=Path,
        default=Path(".sentigraph/models/sentiment"),
        help="folder of the bundle",
    )
    parser.add_argument("--name", help="registered model (default: the bundle's own name)")
    parser.add_argument("--alias", help="alias to point at the version, such as champion")
    parser.add_argument("--actor", default=getpass.getuser(), help="who registers it")
    parser.add_argument("--json", action="store_true", help="print the version as JSON")
    add_tracking_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Registers the bundle and prints the version; returns the exit status."""
    bundle = open_bundle(args.bundle)
    registry = ModelRegistry(args.tracking_uri, args.artifact_root)
    made = registry.store.register(args.name or bundle.name, args.bundle, actor=args.actor)
    if args.alias:
        reason = "registered with --alias"
        made = registry.point(made.name, args.alias, made.version, actor=args.actor, reason=reason)
    print(
        json.dumps(asdict(made))
        if args.json
        else f"{made.name} version {made.version}, {made.stage}, digest {made.digest[:12]}"
        + (f", alias {', '.join(made.aliases)}" if made.aliases else "")
    )
    return 0
