"""A password (SASL PLAIN) in front of the tests' broker, which knows none."""

import contextlib
import socket
import struct
import threading
from typing import Self

from operations.local_stack.ports import free_port

_API_VERSIONS, _HANDSHAKE, _AUTHENTICATE = 18, 17, 36
_FAILED = 58
_FRAME = struct.Struct(">i")
_HEAD = struct.Struct(">hhi")


class SaslFront:
    """Lets nobody to the broker who does not log in with ``password``.

    Attributes:
        port: Where it listens.
        password: May be changed at any time; holds for connections from then on.
        taken: Passwords that were right, one for each connection.
        refused: How many were wrong.
    """

    def __init__(self, password: str) -> None:
        self.port = free_port()
        self.password = password
        self.taken: list[str] = []
        self.refused = 0
        self._broker = 0
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.drop()

    def before(self, broker: int) -> None:
        """The port of the broker."""
        self._broker = broker

    def drop(self) -> None:
        """Ends all connections, as a broker does when a login has lasted long enough."""
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, struct.error):
            broker = socket.create_connection(("127.0.0.1", self._broker))
            with broker:
                self._open.update((client, broker))
                if self._logged_in(client, broker):
                    back = threading.Thread(target=_pipe, args=(broker, client), daemon=True)
                    back.start()
                    _pipe(client, broker)
                    back.join()
                self._open.difference_update((client, broker))

    def _logged_in(self, client: socket.socket, broker: socket.socket) -> bool:
        while True:
            frame = _read(client)
            key, version, correlation = _HEAD.unpack_from(frame)
            if key == _API_VERSIONS:
                _write(broker, frame)
                _write(client, _read(broker))
            elif key == _HANDSHAKE:
                _write(client, struct.pack(">ihi", correlation, 0, 1) + b"\0\5PLAIN")
            elif key == _AUTHENTICATE:
                given = frame[: len(frame) - (version > 1)].rpartition(b"\0")[2].decode()
                right = given == self.password
                self.taken += [given] * right
                self.refused += not right
                _write(client, _answer(correlation, version, 0 if right else _FAILED))
                return right
            else:
                return False


def _answer(correlation: int, version: int, error: int) -> bytes:
    if version > 1:  # the flexible form: no message, no bytes, no end of the login, no tags
        return struct.pack(">ibhbbqb", correlation, 0, error, 0, 1, 0, 0)
    lifetime = struct.pack(">q", 0) if version else b""
    return struct.pack(">ihhi", correlation, error, -1, 0) + lifetime


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def _read(source: socket.socket) -> bytes:
    (size,) = _FRAME.unpack(source.recv(4, socket.MSG_WAITALL))
    return source.recv(size, socket.MSG_WAITALL)


def _write(sink: socket.socket, frame: bytes) -> None:
    sink.sendall(_FRAME.pack(len(frame)) + frame)
