"""TCP ports for the local stack: is one free, and a private block for Ray and HAProxy.

Ray and Ray Serve have a dozen fixed default ports. Two stacks on one machine collide on
each of them, so every stack takes a block of its own.
"""

import random
import socket
from dataclasses import dataclass

# Below the range that Linux hands out for outgoing connections (32768 and up).
_FIRST, _LAST = 20_000, 32_000
_BLOCK = 128
_REPLICA_PORTS = 50


@dataclass(frozen=True, slots=True)
class PortBlock:
    """Consecutive free ports, by use. The ranges include both ends."""

    base: int

    @property
    def gcs(self) -> int:
        """Ray's address."""
        return self.base

    def single(self, index: int) -> int:
        """One of the 27 single ports after ``gcs``; ``index`` starts at 1."""
        return self.base + index

    @property
    def http_replicas(self) -> tuple[int, int]:
        """HTTP servers of the ingress replicas, behind HAProxy."""
        return self.base + 28, self.base + 28 + _REPLICA_PORTS - 1

    @property
    def grpc_replicas(self) -> tuple[int, int]:
        """gRPC servers of the ingress replicas."""
        return self.base + 28 + _REPLICA_PORTS, self.base + _BLOCK - 1


def is_free(port: int) -> bool:
    """Whether nothing listens on ``port``, at any address of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def free_block() -> PortBlock:
    """A block whose ports are all free now; blocks are tried in random order.

    Raises:
        OSError: Every block has a port in use.
    """
    bases = list(range(_FIRST, _LAST - _BLOCK, _BLOCK))
    random.shuffle(bases)
    for base in bases:
        if all(is_free(port) for port in range(base, base + _BLOCK)):
            return PortBlock(base)
    raise OSError(f"no {_BLOCK} free ports in a row between {_FIRST} and {_LAST}")
