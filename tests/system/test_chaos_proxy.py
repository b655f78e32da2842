"""The proxy does to connections what it says."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.system.chaos_proxy import Fault, TcpProxy


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1_000):
            self.request.sendall(data)


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo)
    server.daemon_threads = True
    with server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        with TcpProxy(server.server_address[1]) as running:
            yield running
        server.shutdown()


def connect(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def echoed(client: socket.socket) -> bytes:
    client.sendall(b"hello")
    return client.recv(100)


def test_it_passes_everything_on(proxy: TcpProxy) -> None:
    with connect(proxy) as client:
        assert [echoed(client) for _ in range(3)] == [b"hello"] * 3


def test_a_delay_is_added_each_way(proxy: TcpProxy) -> None:
    with connect(proxy) as client, proxy.fault(Fault(delay_s=0.1)):
        echoed(client)
        began_s = time.monotonic()
        assert echoed(client) == b"hello"
        assert time.monotonic() - began_s >= 0.2


def test_old_and_new_connections_are_reset(proxy: TcpProxy) -> None:
    with connect(proxy) as old:
        assert echoed(old) == b"hello"
        with proxy.fault(Fault(reset=True)):
            with pytest.raises(ConnectionResetError):
                old.recv(1)
            with connect(proxy) as new, pytest.raises(OSError, match=r"reset|aborted|roken"):
                echoed(new)
                echoed(new)
    with connect(proxy) as client:
        assert echoed(client) == b"hello"


def test_a_share_of_pieces_costs_the_connection(proxy: TcpProxy) -> None:
    with proxy.fault(Fault(cut_share=1.0)), connect(proxy) as client:
        client.sendall(b"hello")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_what_is_held_does_not_come_and_is_not_closed(proxy: TcpProxy) -> None:
    with connect(proxy) as client:
        assert echoed(client) == b"hello"
        with proxy.fault(Fault(holds=True)):
            client.settimeout(0.3)
            with pytest.raises(TimeoutError):
                echoed(client)
        client.settimeout(5)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
