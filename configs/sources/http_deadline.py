"""HTTP requests whose timeout bounds the whole of them, not each read.

To ``requests`` a timeout is the longest pause between two bytes: a server that sends one byte a
second holds a call for ever. Here a request, its headers and its body have that time together,
and bytes that move earn more, so that a large file may take as long as it needs.
"""

import io
import math
import socket
import time
from http.client import HTTPResponse
from typing import Any

import urllib3.connection
import urllib3.connectionpool
from requests.adapters import HTTPAdapter

_LEAST_BYTES_PER_S = 64_000


class DeadlineAdapter(HTTPAdapter):
    """To be mounted on a session of requests, which then fails by its own timeout errors.

    A name's look-up and the connection come before; the latter has the same timeout again.
    """

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """As the base class, with connections that keep the deadline."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """As the base class, with connections that keep the deadline."""
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _Deadline:
    """When a request fails; infinitely late where it has no timeout."""

    def __init__(self, timeout_s: object) -> None:
        self._timeout_s = timeout_s if isinstance(timeout_s, int | float) else math.inf
        self._ends_s = time.monotonic() + self._timeout_s

    def apply(self, sock: socket.socket) -> None:
        """Gives the next read or write what is left; raises TimeoutError when nothing is."""
        if self._timeout_s == math.inf:
            return
        left_s = self._ends_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"not complete after {self._timeout_s:g} s")
        sock.settimeout(min(left_s, self._timeout_s))

    def moved(self, size_bytes: int) -> None:
        """Puts the deadline off by the time that so many bytes may take."""
        self._ends_s += size_bytes / _LEAST_BYTES_PER_S


class _Reader(io.RawIOBase):
    """What a socket receives, until the deadline."""

    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock, self._deadline = sock, deadline
        self._bytes = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._deadline.apply(self._sock)
        size = self._bytes.readinto(buffer)
        self._deadline.moved(size or 0)
        return size

    def close(self) -> None:
        self._bytes.close()
        super().close()


class _Connection(urllib3.connection.HTTPConnection):
    _deadline = _Deadline(None)

    def connect(self) -> None:
        self._deadline = _Deadline(self.timeout)  # of what a proxy answers
        super().connect()

    def putrequest(self, *args: Any, **options: Any) -> None:
        self._deadline = _Deadline(self.timeout)
        super().putrequest(*args, **options)

    def send(self, data: Any) -> None:
        if self.sock is not None:
            self._deadline.apply(self.sock)
        super().send(data)
        self._deadline.moved(len(data))

    def response_class(  # type: ignore[override]
        self, sock: socket.socket, *args: Any, **options: Any
    ) -> HTTPResponse:
        response = HTTPResponse(sock, *args, **options)
        response.fp.close()
        response.fp = io.BufferedReader(_Reader(sock, self._deadline))
        return response


class _TlsConnection(_Connection, urllib3.connection.HTTPSConnection):
    pass


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS: dict[str, type] = {"http": _Pool, "https": _TlsPool}
