"""``sentigraph status``: what runs where, which version answers, what waits, what went wrong.

Asks the server over HTTP, Ray's dashboard, and the metrics pages of the nodes that it names. What
cannot be asked is left out, and a note says so. Where the server asks for keys, one with the roles
``registry-read`` and ``predict`` shows everything.
"""

import argparse
import json
import sys
import time

from cli.connections import (
    add_dashboard_arguments,
    add_server_arguments,
    dashboard_of,
    mlflow_of,
    open_server,
    runs_here,
)
from operations.status.collector import Json, StatusCollector
from operations.status.screen import lines, problems, starting, state

_TIMEOUT_S = 10.0
_CLEAR = "\033[H\033[2J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph status`."""
    add_server_arguments(parser)
    add_dashboard_arguments(parser)
    parser.add_argument("--application", default="sentigraph", help="its name in Ray Serve")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--watch", type=float, nargs="?", const=2.0, metavar="SECONDS", help="again and again (2)"
    )


def main(args: argparse.Namespace) -> int:
    """Prints the status, again and again with ``--watch``; 0 when texts are classified and the
    last look found no problem.

    Raises:
        StackError: A key's or token's file cannot be read.
    """
    server = open_server(args, _TIMEOUT_S)
    collector = StatusCollector(
        server,
        dashboard_of(args),
        args.application,
        ours=lambda: runs_here(args),
        mlflow=lambda: mlflow_of(args),
    )
    well = _show(collector.collect(), args)
    try:
        while args.watch:
            time.sleep(max(0.5, args.watch))
            well = _show(collector.collect(), args)
    except KeyboardInterrupt:
        pass
    return int(not well)


def _show(seen: Json, args: argparse.Namespace) -> bool:
    wrong = problems(seen)
    well = not wrong and not starting(seen)
    if args.json:
        found = {"healthy": well, "state": state(seen), "problems": wrong, **seen}
        print(json.dumps(found, ensure_ascii=False), flush=True)
    else:
        if args.watch and sys.stdout.isatty():
            print(_CLEAR, end="")
        print("\n".join(lines(seen, time.time())), flush=True)
    return well
