"""Client of a running server: its address, an API key from a file, JSON both ways."""

import argparse
from typing import Any

import httpx

from operations.clients.http_client import open_client
from operations.errors import ServerAway, ServerRefused, StackError

_TIMEOUT_S = 60.0


class Server:
    """Asks one server."""

    def __init__(self, args: argparse.Namespace, timeout_s: float = _TIMEOUT_S) -> None:
        """Takes ``url`` and ``key_file`` of ``args``, and the longest wait for an answer.

        Raises:
            StackError: The key's file cannot be read.
        """
        self.url: str = args.url.rstrip("/")
        headers = {}
        if args.key_file is not None:
            try:
                headers["X-API-Key"] = args.key_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise StackError(f"{args.key_file} cannot be read: {error}") from error
        self._http = open_client(self.url, headers, timeout_s)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON.

        Raises:
            ServerRefused: It answers with an error.
            ServerAway: It does not answer, or answers no JSON.
        """
        try:
            return self._send(method, path, body).json()
        except ValueError as error:
            raise self._away() from error

    def page(self, path: str) -> str:
        """The answer's text.

        Raises:
            ServerRefused: It answers with an error.
            ServerAway: It does not answer.
        """
        return self._send("GET", path, None).text

    def _send(self, method: str, path: str, body: object) -> httpx.Response:
        try:
            answer = self._http.request(method, f"{self.url}{path}", json=body)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise self._away() from error
        if not answer.is_success:
            said = f"{self.url} answered {answer.status_code}: {answer.text[:200]}"
            raise ServerRefused(said, answer.status_code)
        return answer

    def _away(self) -> ServerAway:
        return ServerAway(
            f"no sentigraph server answers at {self.url}: start one with `sentigraph serve`"
        )
