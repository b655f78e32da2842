"""What of a partition is read, acknowledged, and so may be committed. Pure.

Results come back in any order; an offset may be committed only when everything before it is
acknowledged, or a crash would lose what lies between.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import OffsetAndMetadata, TopicPartition

from deployments.stream.client_patches import IllegibleNames
from deployments.stream.messages import Message


class PartitionOffsets:
    """One partition while one replica owns it. Not thread-safe.

    Attributes:
        committed: The offset that was last committed, or None.
    """

    __slots__ = ("_acknowledged", "_pending", "_position", "_read", "committed")

    def __init__(self) -> None:
        self._pending: deque[int] = deque()
        self._acknowledged: set[int] = set()
        self._read: int | None = None
        self._position: int | None = None
        self.committed: int | None = None

    def read(self, offset: int) -> bool:
        """Notes a message that was read; False if it is not after those read before."""
        if self._read is not None and offset <= self._read:
            return False
        self._read = offset
        self._pending.append(offset)
        return True

    def acknowledge(self, offset: int) -> None:
        """Notes that a message's result, or its dead letter, is in Kafka."""
        self._acknowledged.add(offset)
        # Offsets may have gaps: compaction and transactions leave some.
        while self._pending and self._pending[0] in self._acknowledged:
            done = self._pending.popleft()
            self._acknowledged.discard(done)
            self._position = done + 1

    @property
    def to_commit(self) -> int | None:
        """The offset to go on from after a crash; None if that is committed already."""
        return None if self._position == self.committed else self._position

    @property
    def unfinished(self) -> int | None:
        """The first offset that is not acknowledged; None before any message was read."""
        if self._pending:
            return self._pending[0]
        return None if self._read is None else self._read + 1


Offsets = dict[TopicPartition, OffsetAndMetadata]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that is to be acknowledged, and where that is noted."""

    message: Message
    progress: PartitionOffsets
    read_s: float


class OffsetTracker:
    """What is ours, how far it is, and how much is under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owned: dict[TopicPartition, PartitionOffsets] = {}
        self._in_flight = 0
        self._acknowledged = 0
        self._counted_s = time.monotonic()

    @property
    def in_flight(self) -> int:
        """Messages that are read and not acknowledged."""
        return self._in_flight

    def own(self, partitions: Iterable[TopicPartition]) -> None:
        """Partitions that are ours from now on."""
        with self._lock:
            for partition in partitions:
                self._owned.setdefault(partition, PartitionOffsets())

    def disown(self, partitions: Iterable[TopicPartition]) -> Offsets:
        """Partitions that are not ours any more; what of them is still to be committed."""
        with self._lock:
            gone = {p: self._owned.pop(p) for p in list(partitions) if p in self._owned}
        return _to_commit(gone)

    def disown_all(self) -> None:
        """None is ours any more."""
        with self._lock:
            self._owned.clear()

    def read(self, polled: Mapping[TopicPartition, Iterable[Any]]) -> list[Delivery]:
        """Notes what a poll brought; records of lost partitions are left out."""
        now = time.monotonic()
        batch: list[Delivery] = []
        with self._lock:
            for partition, records in polled.items():
                progress = self._owned.get(partition)
                if progress is None:
                    continue
                for record in records:
                    message = read_message(record)
                    if not progress.read(message.offset):
                        # The broker lost its log, or the group was set back.
                        progress = self._owned[partition] = PartitionOffsets()
                        progress.read(message.offset)
                    batch.append(Delivery(message, progress, now))
            self._in_flight += len(batch)
        return batch

    def acknowledge(self, deliveries: Iterable[Delivery]) -> None:
        """Results or dead letters of these are in Kafka."""
        with self._lock:
            for delivery in deliveries:
                delivery.progress.acknowledge(delivery.message.offset)
                self._in_flight -= 1
                self._acknowledged += 1

    def to_commit(self) -> Offsets:
        """What may be committed and is not yet."""
        with self._lock:
            return _to_commit(self._owned)

    def committed(self, offsets: Offsets) -> None:
        """These are."""
        with self._lock:
            for partition, committed in offsets.items():
                if (progress := self._owned.get(partition)) is not None:
                    progress.committed = committed.offset

    def unfinished(self) -> dict[TopicPartition, int | None]:
        """The first offset of each partition that is not acknowledged, None before any read."""
        with self._lock:
            return {partition: held.unfinished for partition, held in self._owned.items()}

    def rate(self) -> float:
        """Messages acknowledged a second since the last call."""
        now = time.monotonic()
        with self._lock:
            rate = self._acknowledged / max(now - self._counted_s, 1e-3)
            self._acknowledged, self._counted_s = 0, now
        return rate


def _to_commit(held: Mapping[TopicPartition, PartitionOffsets]) -> Offsets:
    return {
        partition: OffsetAndMetadata(offset, "", -1)
        for partition, progress in held.items()
        if (offset := progress.to_commit) is not None
    }


def read_message(record: Any) -> Message:
    """A message as kafka-python hands it over."""
    return Message(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp or 0,
        record.key,
        record.value,
        # A header may be null; a producer takes none.
        tuple((name, value or b"") for name, value in record.headers),
        legible=not isinstance(record.headers, IllegibleNames),
    )
