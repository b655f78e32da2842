"""``sentigraph warm``: sends the texts of a file to a running server, which remembers them.

One text a line, or JSON lines with a field ``text``. Sent in batches through the front door,
so what is remembered is what a request finds: the live version, this server's limits.
"""

import argparse
import itertools
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from pipelines.errors import StackError

_BATCH_TEXTS = 200
_TIMEOUT_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph warm`."""
    parser.add_argument("file", type=Path, help="a text a line, or .jsonl with a field text")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="server to ask")
    parser.add_argument("--key-file", type=Path, help="file that holds an API key")


def main(args: argparse.Namespace) -> int:
    """Sends all texts, prints how many were new, returns the exit status.

    Raises:
        StackError: The file cannot be read, or the server does not take the texts.
    """
    known = total = 0
    key = args.key_file.read_text(encoding="utf-8").strip() if args.key_file else ""
    texts = _texts(args.file)
    while batch := list(itertools.islice(texts, _BATCH_TEXTS)):
        results = _send(args.url, batch, key)
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


def _send(url: str, texts: list[str], key: str) -> list[dict[str, dict[str, object] | None]]:
    request = urllib.request.Request(  # noqa: S310  (the user's own address)
        f"{url.rstrip('/')}/api/v1/predict/batch",
        data=json.dumps({"texts": texts}).encode(),
        headers={"Content-Type": "application/json", **({"X-API-Key": key} if key else {})},
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310
            results: list[dict[str, dict[str, object] | None]] = json.load(response)["results"]
            return results
    except urllib.error.HTTPError as error:
        raise StackError(f"{url} answered {error.code}: {error.read().decode()[:200]}") from error
    except (OSError, ValueError) as error:
        raise StackError(f"no sentigraph server answers at {url}") from error
