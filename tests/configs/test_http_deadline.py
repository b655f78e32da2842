"""Requests against servers that send a byte at a time, or much."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import requests

from configs.sources.http_deadline import DeadlineAdapter

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n"


@contextmanager
def server(at_once: bytes, dripping: bytes, *, reads: bool = True) -> Iterator[str]:
    """Answers one request; ``dripping`` comes byte by byte, of the request nothing is read."""

    def serve(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with peer, suppress(OSError):
            while not reads and not done.wait(0.02):
                peer.recv(1)
            peer.recv(65_536)
            peer.sendall(at_once)
            for byte in dripping:
                time.sleep(0.02)
                peer.sendall(bytes([byte]))

    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        done.set()
        thread.join()


@contextmanager
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.mount("http://", DeadlineAdapter())
        yield session


@pytest.mark.parametrize(
    ("at_once", "dripping"),
    [
        (b"", b"HTTP/1.1 200 OK\r\nX: "),
        (HEAD, b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1"),
    ],
    ids=["headers", "body", "chunk size"],
)
def test_an_answer_that_drips_fails_when_the_time_is_over(at_once: bytes, dripping: bytes) -> None:
    dripping = dripping.ljust(200, b"0")
    with server(at_once, dripping) as url, session() as asking:
        began_s = time.monotonic()
        with pytest.raises((requests.Timeout, requests.ConnectionError), match="timed out"):
            asking.get(url, timeout=0.2)
        assert 0.15 < time.monotonic() - began_s < 2  # of four


def test_a_server_that_reads_slowly_fails_an_upload() -> None:
    began_s = time.monotonic()
    with (
        server(b"", b"", reads=False) as url,
        session() as asking,
        pytest.raises((requests.Timeout, requests.ConnectionError)),
    ):
        asking.put(url, data=iter([b"x" * 65_536] * 200), timeout=0.2)
    assert time.monotonic() - began_s < 60


def test_bytes_that_come_fast_enough_earn_time_and_a_connection_is_used_again() -> None:
    """640 kB earn 10 s: the rest may come later than the timeout."""
    size = 640_000
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (size + 20)
    with server(head + b"x" * size, b"y" * 20) as url, session() as asking:
        answer = asking.get(url, timeout=0.2)
        assert answer.content == b"x" * size + b"y" * 20
