"""``sentigraph logs``: what the replicas log, as JSON lines on stdout."""

import argparse
import sys
from pathlib import Path

from configs.load import find_home
from operations.errors import OperationError
from operations.local_stack.log_files import LogFiles


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph logs`."""
    parser.add_argument(
        "--dir",
        type=Path,
        help="folder of Serve's log files (default: of a `sentigraph serve` on this machine)",
    )
    parser.add_argument("--follow", "-f", action="store_true", help="go on with what comes")


def main(args: argparse.Namespace) -> int:
    """Prints the lines that are there, and with ``--follow`` all that come.

    Raises:
        OperationError: There is no such folder.
    """
    folder: Path = args.dir or find_home() / ".sentigraph" / "logs" / "ray" / "serve"
    # In a pod this starts before Ray has made the folder.
    if not folder.is_dir() and not args.follow:
        raise OperationError(f"{folder} is no folder; `--dir` names that of Serve's logs")
    files = LogFiles(folder, from_start=True)
    try:
        for line in files.follow() if args.follow else files.read():
            print(line, flush=True)
    except KeyboardInterrupt:
        sys.stderr.close()  # or Python complains about the closed pipe
    finally:
        files.close()
    return 0
