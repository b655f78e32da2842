"""The socket of a replica that takes texts or token ids, and where it is.

Callers learn the address, its key and its certificate by a call through Ray, so whoever may not
call the replica cannot reach its socket either. On the same node it is a Unix socket; between
nodes TCP with TLS, whose certificate the replica makes when it starts.
"""

import asyncio
import datetime
import hmac
import logging
import secrets
import shutil
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deployments.transport.wire import Array, BadMessage, Header, Messages, message

_log = logging.getLogger("ray.serve")
_NAME = "sentigraph replica"
_MOST_KEY_BYTES = 256
_LEAVE_S = 0.1
_LIFE = datetime.timedelta(days=3_650)

Answer = tuple[Header, Sequence[Array]]
Operation = Callable[[Header, bytes], Awaitable[Answer]]
"""Answers the header and the arrays of a message."""


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """Where a replica's socket is; a secret, because of its key.

    Attributes:
        replica: Who listens; another one after a restart.
        node: On which Ray node.
        path: Of the Unix socket there.
        host: Of the TCP socket.
        port: Of the TCP socket.
        certificate: PEM, the only one that it shows.
        key: What a caller says first.
    """

    replica: str
    node: str
    path: str
    host: str
    port: int
    certificate: str
    key: str


class Endpoint:
    """Listens until ``close``. For one event loop."""

    def __init__(self, operations: Mapping[str, Operation]) -> None:
        """Does not listen yet.

        Args:
            operations: What it answers, by name, beside ``ping``.
        """
        self._operations = {"ping": _ping, **operations}
        self._key = secrets.token_urlsafe(32)
        self._servers: list[asyncio.Server] = []
        self._peers: set[_Peer] = set()
        self._folder = Path()

    async def open(self, replica: str, node: str, host: str) -> Address:
        """Begins to listen.

        Args:
            replica: Name of this replica.
            node: This Ray node's id.
            host: The address of this node that others reach.
        """
        loop = asyncio.get_running_loop()
        # Readable by this user alone.
        self._folder = Path(tempfile.mkdtemp(prefix="sentigraph-"))
        context, certificate = await asyncio.to_thread(_tls, self._folder)
        path = self._folder / "socket"
        self._servers = [
            await loop.create_unix_server(self._peer, str(path)),
            await loop.create_server(self._peer, host, 0, ssl=context),
        ]
        port: int = self._servers[1].sockets[0].getsockname()[1]
        return Address(replica, node, str(path), host, port, certificate, self._key)

    async def leave(self, within_s: float) -> None:
        """Answers until no caller is left, at most ``within_s``; then closes.

        A caller leaves once it knows another replica (``Links.look``) or ends itself. Without
        that wait the last replicas of a stage that a new configuration has no more would go
        before the ingresses that still send them texts.
        """
        try:
            async with asyncio.timeout(within_s):
                while self._peers:  # noqa: ASYNC110  (it ends, and nothing else waits)
                    await asyncio.sleep(_LEAVE_S)
        except TimeoutError:
            _log.warning("this replica stops, and callers of it know no other one")
        self.close()

    def close(self) -> None:
        """Ends all connections; their callers ask another replica."""
        for server in self._servers:
            server.close()
        for peer in tuple(self._peers):
            peer.transport.abort()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _peer(self) -> "_Peer":
        return _Peer(self._operations, self._key, self._peers)


class _Peer(Messages):
    """One caller."""

    def __init__(self, operations: Mapping[str, Operation], key: str, peers: "set[_Peer]") -> None:
        super().__init__()
        self._operations = operations
        self._key = key
        self._peers = peers
        self._known = False
        # Whoever has not shown the key has nothing else to say.
        self.most_bytes = _MOST_KEY_BYTES
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._peers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._peers.discard(self)
        # Nobody waits for these answers.
        for task in self._tasks:
            task.cancel()

    def received(self, header: Header, body: bytes) -> None:
        if not self._known:
            said = header.get("key")
            if not isinstance(said, str) or not hmac.compare_digest(said, self._key):
                raise BadMessage("a wrong key")
            self._known, self.most_bytes = True, Messages.most_bytes
            return
        operation = self._operations.get(header.get("do", ""))
        if operation is None:
            raise BadMessage("no such operation")
        task = asyncio.get_running_loop().create_task(self._answer(operation, header, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, operation: Operation, header: Header, body: bytes) -> None:
        arrays: Sequence[Array] = ()
        try:
            answer, arrays = await operation(header, body)
        except Exception as error:  # noqa: BLE001  (it is the caller's)
            _log.warning("a batch failed: %s", type(error).__name__)
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        if not self.transport.is_closing():
            self.transport.write(message({"id": header.get("id"), **answer}, arrays))


async def _ping(header: Header, body: bytes) -> Answer:
    """Answers; who asks wants to know no more."""
    return {}, ()


def _tls(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A server's TLS with a new certificate, and that certificate; its key leaves no trace."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    file = folder / "key.pem"
    file.touch(mode=0o600)
    file.write_bytes(
        certificate
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(file)
    file.unlink()
    return context, certificate.decode()
