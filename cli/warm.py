"""``sentigraph warm``: sends the texts of a file to a running server, which remembers them.

One text a line, or JSON lines with a field ``text``. They are sent in batches as ordinary
requests, so the live version answers them, and the server's limits hold.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from cli.connections import add_server_arguments, open_server
from operations.errors import StackError

_BATCH_TEXTS = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph warm`."""
    parser.add_argument("file", type=Path, help="a text a line, or .jsonl with a field text")
    add_server_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Sends all texts, prints how many were new, returns the exit status.

    Raises:
        StackError: The file cannot be read, or the server does not take the texts.
    """
    known = total = 0
    server = open_server(args)
    texts = _texts(args.file)
    while batch := list(itertools.islice(texts, _BATCH_TEXTS)):
        results = server.ask("POST", "/api/v1/predict/batch", {"texts": batch})["results"]
        total += len(batch)
        known += sum(
            bool(result["prediction"] and result["prediction"]["cached"]) for result in results
        )
    print(f"{total} texts, {known} of them known before", file=sys.stderr)
    return 0


def _texts(file: Path) -> Iterator[str]:
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    yield json.loads(line)["text"] if file.suffix == ".jsonl" else line.strip()
                except (ValueError, KeyError, TypeError) as error:
                    raise StackError(
                        f"{file}, line {number}: no JSON object with a field text"
                    ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise StackError(f"{file} cannot be read: {error}") from error
