"""Connections that send a byte now and then; part of ``tests.system.attack``. Loopback only.

``python -m tests.system.drip PORT HEADERS UPLOADS KEY SECONDS`` is a process of its own, so that
it does not slow the clock of whom it is beside. It opens what was closed again, and says at its
end how often that was.
"""

import contextlib
import json
import resource
import socket
import sys
import time

_PACE_S = 2.0
_HEADERS_FROM, _UPLOADS_FROM = "127.0.0.2", "127.0.0.3"


def _upload_head(key: str) -> bytes:
    return (
        "POST /api/v1/batch/files HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
        f"X-API-Key: {key}\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
    ).encode()


class Dripping:
    """One connection."""

    def __init__(self, port: int, source: str, head: bytes) -> None:
        self._port = port
        self._source = source
        self._head = head
        self._socket: socket.socket | None = None
        self.opened = 0

    def drip(self) -> None:
        """Opens it if it is not, else sends a byte."""
        if self._socket is None:
            self._open()
            return
        with contextlib.suppress(BlockingIOError):
            try:
                # What was answered is an end, for the request was not complete.
                if self._socket.recv(4_096) is not None:
                    self._close()
                    return
            except BlockingIOError:
                pass
            except OSError:
                self._close()
                return
            try:
                self._socket.send(b"x")
            except OSError:
                self._close()

    def _open(self) -> None:
        made = socket.socket()
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        made.bind((self._source, 0))
        with contextlib.suppress(BlockingIOError):
            made.connect(("127.0.0.1", self._port))
        self.opened += 1
        self._socket = made
        with contextlib.suppress(OSError):
            made.send(self._head)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None


def main() -> int:
    """Drips for some seconds."""
    port, headers, uploads, seconds = (int(sys.argv[i]) for i in (1, 2, 3, 5))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    started = b"GET /x HTTP/1.1\r\nHost: x\r\nX-A: "
    head = _upload_head(sys.argv[4])
    all_of_them = [Dripping(port, _UPLOADS_FROM, head) for _ in range(uploads)]
    all_of_them += [Dripping(port, _HEADERS_FROM, started) for _ in range(headers)]
    ends_s = time.monotonic() + seconds
    while (begun_s := time.monotonic()) < ends_s:
        for number, each in enumerate(all_of_them):
            each.drip()
            if number % 200 == 0:
                time.sleep(0.01)
        time.sleep(max(0.0, begun_s + _PACE_S - time.monotonic()))
    opened = sum(each.opened for each in all_of_them)
    print(json.dumps({"connections": len(all_of_them), "opened": opened}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
