"""A running server, as the verbs ask it: its address, a key from a file, JSON both ways."""

import argparse
import http.client
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from operations.errors import ServerRefused, StackError

_TIMEOUT_S = 60.0


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares where the server is and what opens it."""
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="server to ask")
    parser.add_argument("--key-file", type=Path, help="file that holds an API key")


class Server:
    """Asks one server."""

    def __init__(self, args: argparse.Namespace, timeout_s: float = _TIMEOUT_S) -> None:
        """Takes the address of ``add_server_arguments``, and the longest wait for an answer.

        Raises:
            StackError: The key's file cannot be read.
        """
        self._url: str = args.url.rstrip("/")
        self._timeout_s = timeout_s
        self._headers = {"Content-Type": "application/json"}
        if args.key_file is not None:
            try:
                self._headers["X-API-Key"] = args.key_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise StackError(f"{args.key_file} cannot be read: {error}") from error

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON.

        Raises:
            ServerRefused: It answers with an error.
            StackError: Nobody answers, or no JSON.
        """
        try:
            return json.loads(self._send(method, path, body))
        except ValueError as error:
            raise StackError(f"no sentigraph server answers at {self._url}") from error

    def page(self, path: str) -> str:
        """The answer's text.

        Raises:
            ServerRefused: It answers with an error.
            StackError: Nobody answers.
        """
        return self._send("GET", path, None).decode("utf-8", "replace")

    def _send(self, method: str, path: str, body: object) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310  (the user's own address)
            f"{self._url}{path}", data=data, headers=self._headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as response:  # noqa: S310 # nosec B310
                found: bytes = response.read()
                return found
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:200]
            raise ServerRefused(f"{self._url} answered {error.code}: {said}", error.code) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise StackError(f"no sentigraph server answers at {self._url}") from error
