"""A running server, as the verbs ask it: its address, a key from a file, JSON both ways."""

import argparse
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from pipelines.errors import StackError

_TIMEOUT_S = 60.0


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares where the server is and what opens it."""
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="server to ask")
    parser.add_argument("--key-file", type=Path, help="file that holds an API key")


class Server:
    """Asks one server."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Takes the address of ``add_server_arguments``.

        Raises:
            StackError: The key's file cannot be read.
        """
        self._url: str = args.url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if args.key_file is not None:
            try:
                self._headers["X-API-Key"] = args.key_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise StackError(f"{args.key_file} cannot be read: {error}") from error

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON.

        Raises:
            StackError: Nobody answers, or with an error.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310  (the user's own address)
            f"{self._url}{path}", data=data, headers=self._headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310 # nosec B310
                return json.load(response)
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:200]
            raise StackError(f"{self._url} answered {error.code}: {said}") from error
        except (OSError, ValueError) as error:
            raise StackError(f"no sentigraph server answers at {self._url}") from error
