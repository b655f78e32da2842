"""``sentigraph status``: what runs where, which version answers, what waits, what went wrong.

Asks the server over HTTP, Ray's dashboard, and the metrics pages of the nodes that it names. What
cannot be asked is left out and said. Where the server asks for keys, one with the roles
``registry-read`` and ``predict`` shows everything.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict

from cli.connections import add_dashboard_arguments, cluster_of
from operations.server_client import Server, add_server_arguments
from operations.status.collector import StatusCollector
from operations.status.overview import Overview, problems
from operations.status.screen import lines

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
    """Prints one look, or looks again until Ctrl-C; 0 when the last one found nothing wrong.

    Raises:
        StackError: A key's or token's file cannot be read.
    """
    server = Server(args, timeout_s=_TIMEOUT_S)
    questions = StatusCollector(server, args.url, cluster_of(args), args.application)
    seen = questions.look()
    _show(seen, args)
    try:
        while args.watch:
            time.sleep(max(0.5, args.watch))
            seen = questions.look()
            _show(seen, args)
    except KeyboardInterrupt:
        pass
    return int(bool(problems(seen)))


def _show(seen: Overview, args: argparse.Namespace) -> None:
    if args.json:
        found = {"healthy": not problems(seen), "problems": problems(seen), **asdict(seen)}
        print(json.dumps(found, ensure_ascii=False), flush=True)
        return
    if args.watch and sys.stdout.isatty():
        print(_CLEAR, end="")
    print("\n".join(lines(seen, time.time())), flush=True)
