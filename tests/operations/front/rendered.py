"""A configuration as Ray renders it, and the answers of the server behind it."""

import http.server
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Rendered:
    """What Ray would start HAProxy with.

    Attributes:
        path: Of the configuration.
        port: Of HTTP.
    """

    path: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Render = Callable[..., Rendered]


class Answers(http.server.BaseHTTPRequestHandler):
    """200 to everything; a POST whose body says so loses its connection without an answer once."""

    lost = 0

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if body == b"die" and not type(self).lost:
            type(self).lost += 1
            self.close_connection = True
            return
        self._answer()

    def _answer(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        pass


class Echoes(Answers):
    """The headers that it got, by their names in lower case."""

    def _answer(self) -> None:
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
