"""Records of Kafka whose header names are no text: readable, and told apart.

A header's name is UTF-8 by the protocol, and nothing holds a producer to it. kafka-python takes a
whole batch with one other name for corrupt, so its partition would never get past it. Here such
a name is read with ``?`` in place of each byte that is no ASCII, and its message is marked.
"""

from typing import Any

from kafka.record import memory_records
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch
from kafka.record.util import decode_varint


class IllegibleNames(list[tuple[str, bytes | None]]):
    """Headers of a record of which some names are not those that were sent."""


class AnyNames(DefaultRecordBatch):  # type: ignore[misc]
    """A batch of records with any header names."""

    def _read_msg(self, *arguments: Any) -> DefaultRecord:
        try:
            return super()._read_msg(*arguments)
        except UnicodeDecodeError:
            self._spell_names()
            record = super()._read_msg(*arguments)
            record._headers = IllegibleNames(record.headers)
            return record

    def _spell_names(self) -> None:
        """Writes ``?`` over what is no ASCII in the names of the record that comes next."""
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
    """Where the bytes end whose length stands at ``at``; a negative length is that of a null."""
    size, at = decode_varint(buffer, at)
    return at + max(0, int(size))


def take_any_names() -> None:
    """From now on this process's consumers read batches as ``AnyNames``."""
    memory_records.DefaultRecordBatch = AnyNames
