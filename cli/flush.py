"""``sentigraph flush``: a running server drops its cached predictions of a model version.

That is the live version unless another bundle's digest is given. Needs a key with the role `admin`
where the server asks for keys.
"""

import argparse

from cli.connections import add_server_arguments, open_server


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph flush`."""
    add_server_arguments(parser)
    parser.add_argument("--digest", help="sha256 of another bundle than the live champion's")


def main(args: argparse.Namespace) -> int:
    """Prints how many predictions were dropped, returns the exit status.

    Raises:
        StackError: The server does not do it.
    """
    server = open_server(args)
    digest = args.digest or server.ask("GET", "/api/v1/models/live")["champion"]["digest"]
    flushed = server.ask("DELETE", f"/api/v1/cache/{digest}")
    print(f"{digest[:12]}: {flushed['l1_entries']} in memory, {flushed['l2_entries']} shared")
    return 0
