"""All that relies on private parts of kafka-python, made for and tested with ``MADE_FOR``.

1. Passwords that change. kafka-python copies ``sasl_plain_password`` when a client is made, and
   only OAUTHBEARER asks for a new token; a connection that was refused stays refused for the life
   of its client. No issue is known upstream; librdkafka's pull request 3955 asks for the same.
2. Header names that are not UTF-8. kafka-python raises ``UnicodeDecodeError`` for the batch, so a
   consumer never gets past the message. No issue is known upstream; FastStream's issue 2458 is
   the same symptom of another client.

A client that cannot start also leaves its sockets open, which ``make`` closes.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.record import memory_records
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch
from kafka.record.util import decode_varint

from configs.schema.stream import StreamConfig

MADE_FOR = "3.0.12"
Client = TypeVar("Client")


class SaslLogin:
    """The password of ``stream.username``. May be replaced from any thread.

    A connection that is logged in stays so when the password changes; the next one, or the
    broker's demand to log in again, uses the new one. No partition moves.
    """

    def __init__(self, config: StreamConfig) -> None:
        self.password = config.password.get_secret_value()

    def replace(self, password: str) -> None:
        """Uses another password from the next login on."""
        self.password = password


class _Connections(KafkaConnectionManager):  # type: ignore[misc]
    """Logs each new connection in with the current password of ``SaslLogin``."""

    def __init__(self, net: NetworkSelector, login: SaslLogin, **configs: Any) -> None:
        super().__init__(net, **configs)
        self._login = login

    def get_connection(self, *arguments: Any, **options: Any) -> Any:
        """See kafka-python."""
        password = self._login.password
        if self.config["sasl_plain_password"] != password:
            self.config["sasl_plain_password"] = password
            # Brokers that refused the password before are asked again.
            self._auth_failures.clear()
        return super().get_connection(*arguments, **options)


def make(kind: Callable[..., Client], arguments: Mapping[str, Any], login: SaslLogin) -> Client:
    """Returns a consumer, producer or admin client that logs in with ``login``.

    Raises:
        KafkaError: No broker answers, or none takes the password; no socket stays open.
    """
    made: list[KafkaNetClient] = []

    def client(**configs: Any) -> KafkaNetClient:
        net = NetworkSelector(**configs)
        made.append(KafkaNetClient(net, _Connections(net, login, **configs), **configs))
        return made[0]

    try:
        return kind(kafka_client=client, **arguments)
    except BaseException:
        for left in made:
            left.close()
        raise


class IllegibleNames(list[tuple[str, bytes | None]]):
    """Headers of a record of which some names are not those that were sent."""


class AnyNames(DefaultRecordBatch):  # type: ignore[misc]
    """A batch of records; header names that are not UTF-8 are read with ``?`` for each such byte.

    The headers of such a record are ``IllegibleNames``.
    """

    def _read_msg(self, *arguments: Any) -> DefaultRecord:
        try:
            return super()._read_msg(*arguments)
        except UnicodeDecodeError:
            self._spell_names()
            record = super()._read_msg(*arguments)
            record._headers = IllegibleNames(record.headers)
            return record

    def _spell_names(self) -> None:
        """Writes ``?`` over the bytes that are not ASCII in the next record's header names."""
        buffer, at = self._buffer, self._pos
        for _ in ("length", "attributes", "timestamp", "offset"):
            _, at = decode_varint(buffer, at)
        for _ in ("key", "value"):
            at = _behind(buffer, at)
        headers, at = decode_varint(buffer, at)
        for _ in range(headers):
            size, at = decode_varint(buffer, at)
            name = buffer[at : at + size].decode("ascii", "replace")
            buffer[at : at + size] = name.encode("ascii", "replace")
            at = _behind(buffer, at + size)


def _behind(buffer: bytearray, at: int) -> int:
    """Returns where the bytes end whose length stands at ``at``; a null has a negative length."""
    size, at = decode_varint(buffer, at)
    return at + max(0, int(size))


def accept_any_header_names() -> None:
    """Makes this process's consumers read batches as ``AnyNames``."""
    memory_records.DefaultRecordBatch = AnyNames
