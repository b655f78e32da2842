"""Kafka → micro-batches, in a thread: what is read, paused, committed, and how far behind.

One poll is one micro-batch. Offsets are committed only up to the first message that is not
acknowledged. A broker that does not answer is left alone by a breaker and tried again; the
rest of the replica does not notice.
"""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaConfigurationError, KafkaError

from configs.dependencies import BreakerConfig
from configs.stream import StreamConfig
from deployments.breaker import Breaker, BreakerOpen
from deployments.stream_metrics import StreamMetrics
from deployments.streams import options
from deployments.streams.messages import Message
from deployments.streams.progress import Progress

_log = logging.getLogger("ray.serve")
_POLL_MS = 100
_PAUSED_POLL_MS = 20
_LOOK_S = 2.0
_CALL_MS = 3_000
_CLOSE_MS = 3_000
_REACH_S = 1.0
# Paused at the bound, resumed when a quarter of it is free.
_RESUME = 0.75


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that is to be acknowledged, and where that is noted."""

    message: Message
    progress: Progress
    read_s: float


class Reader:
    """One consumer of the group. ``acknowledge`` may be called from any thread."""

    def __init__(
        self,
        config: StreamConfig,
        breaker: BreakerConfig,
        deliver: Callable[[list[Delivery]], object],
        metrics: StreamMetrics,
        on_breaker: Callable[[str], None],
    ) -> None:
        """Makes a reader; ``start`` begins.

        Args:
            config: What and how much.
            breaker: When a broker that does not answer is left alone.
            deliver: Is handed each micro-batch, in the reader's thread.
            metrics: Where facts are counted.
            on_breaker: Is told the breaker's state.
        """
        self._config = config
        self._deliver = deliver
        self._metrics = metrics
        self._breaker = Breaker(breaker, on_breaker)
        self._lock = threading.Lock()
        self._owned: dict[TopicPartition, Progress] = {}
        self._in_flight = 0
        self._acknowledged = 0
        self._looked_s = time.monotonic()
        self._paused = False
        self._stopping = threading.Event()
        self._closing = threading.Event()
        self.connected = False
        self.lag: dict[int, int] = {}
        self.rate = 0.0
        self._thread = threading.Thread(target=self._run, name="kafka-reader", daemon=True)

    def start(self) -> None:
        """Begins to read."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def in_flight(self) -> int:
        """Messages that are read and not acknowledged."""
        return self._in_flight

    def acknowledge(self, deliveries: Iterable[Delivery]) -> None:
        """Results or dead letters of these are in Kafka."""
        with self._lock:
            for delivery in deliveries:
                delivery.progress.acknowledge(delivery.message.offset)
                self._in_flight -= 1
                self._acknowledged += 1

    def stop_reading(self) -> None:
        """No further micro-batch; what is acknowledged from now on is still committed."""
        self._stopping.set()

    def close(self) -> None:
        """Commits, leaves the group and ends the thread."""
        self._stopping.set()
        self._closing.set()
        self._thread.join((_CALL_MS + 2 * _CLOSE_MS) / 1_000)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with self._breaker.guard():
                    _reach(self._config.bootstrap_servers)
                    consumer = KafkaConsumer(**options.consumer(self._config))
                self._session(consumer)
            except BreakerOpen:
                self._closing.wait(_POLL_MS / 1_000)
            except KafkaConfigurationError:
                raise  # trying again cures nothing: the thread ends, and with it the replica
            except (KafkaError, OSError) as error:
                self._lost(error)
                self._closing.wait(_POLL_MS / 1_000)

    def _session(self, consumer: KafkaConsumer) -> None:
        """Reads until the end or an error that a new connection may cure."""
        self.connected = True
        self._paused = False
        try:
            consumer.subscribe([self._config.requests_topic], listener=_Owning(self, consumer))
            next_commit_s = next_look_s = 0.0
            while not self._closing.is_set():
                self._read(consumer)
                now = time.monotonic()
                if now >= next_commit_s:
                    self._commit(consumer)
                    next_commit_s = time.monotonic() + self._config.commit_interval_ms / 1_000
                if now >= next_look_s:
                    self._look(consumer)
                    next_look_s = time.monotonic() + _LOOK_S
            self._commit(consumer)
        finally:
            consumer.close(autocommit=False, timeout_ms=_CLOSE_MS)
            with self._lock:
                self._owned.clear()

    def _read(self, consumer: KafkaConsumer) -> None:
        room = self._config.max_in_flight - self._in_flight
        if self._stopping.is_set() or room <= 0:
            self._paused = True
        elif self._in_flight <= self._config.max_in_flight * _RESUME:
            self._paused = False
        assigned = consumer.assignment()
        if self._paused:
            consumer.pause(*(assigned - consumer.paused()))
        else:
            consumer.resume(*consumer.paused())
        polled = consumer.poll(
            timeout_ms=_PAUSED_POLL_MS if self._paused else _POLL_MS,
            max_records=max(1, min(self._config.max_poll_records, room)),
        )
        if polled:
            self._hand_over(polled)

    def _hand_over(self, polled: Mapping[TopicPartition, list[object]]) -> None:
        now = time.monotonic()
        batch: list[Delivery] = []
        with self._lock:
            for partition, records in polled.items():
                for record in records:
                    # Without an owner's note the partition was lost meanwhile: others read it.
                    if (progress := self._owned.get(partition)) is None:
                        break
                    message = _message(record)
                    if not progress.read(message.offset):
                        # The broker lost its log, or somebody set the group back.
                        progress = self._owned[partition] = Progress()
                        progress.read(message.offset)
                    batch.append(Delivery(message, progress, now))
            self._in_flight += len(batch)
        for partition, records in polled.items():
            self._metrics.consumed.labels(partition.topic, str(partition.partition)).inc(
                len(records)
            )
        self._metrics.in_flight.set(self._in_flight)
        if batch:
            self._metrics.batch_size.observe(len(batch))
            self._deliver(batch)

    def _to_commit(
        self, among: Iterable[TopicPartition] | None = None
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        with self._lock:
            return {
                partition: OffsetAndMetadata(offset, "", -1)
                for partition, progress in self._owned.items()
                if (among is None or partition in among)
                and (offset := progress.to_commit) is not None
            }

    def _commit(self, consumer: KafkaConsumer) -> None:
        offsets = self._to_commit()
        if not offsets:
            return
        try:
            with self._breaker.guard():
                consumer.commit(offsets, timeout_ms=_CALL_MS)
        except BreakerOpen:
            return
        except KafkaError as error:
            # Nothing is lost: the same offsets, or later ones, are committed next time.
            self._metrics.commit_failures.inc()
            _log.warning("offsets could not be committed: %s", type(error).__name__)
            return
        with self._lock:
            for partition, committed in offsets.items():
                if (progress := self._owned.get(partition)) is not None:
                    progress.committed = committed.offset

    def _look(self, consumer: KafkaConsumer) -> None:
        """Asks a broker how far it is: the lag, and whether it answers at all."""
        assigned = consumer.assignment()
        try:
            with self._breaker.guard():
                if assigned:
                    ends = consumer.end_offsets(assigned, timeout_ms=_CALL_MS)
                else:
                    ends = {}
                    consumer.partitions_for_topic(self._config.requests_topic)
        except BreakerOpen:
            return
        except KafkaError as error:
            self._lost(error)
            return
        self.connected = True
        with self._lock:
            now = time.monotonic()
            self.rate = self._acknowledged / max(now - self._looked_s, 1e-3)
            self._acknowledged, self._looked_s = 0, now
            starts = {tp: self._owned[tp].unfinished for tp in assigned if tp in self._owned}
        lag = {}
        for partition, start in starts.items():
            # The fetch answers' mark is newer, except on partitions that are paused.
            end = max(ends.get(partition) or 0, consumer.highwater(partition) or 0)
            at = consumer.position(partition, timeout_ms=_CALL_MS) if start is None else start
            lag[partition.partition] = max(0, end - (at or 0))
        for gone in self.lag.keys() - lag.keys():
            self._metrics.lag.remove(str(gone))
        for number, behind in lag.items():
            self._metrics.lag.labels(str(number)).set(behind)
        self.lag = lag
        self._metrics.rate.set(self.rate)
        self._metrics.in_flight.set(self._in_flight)

    def _lost(self, error: Exception) -> None:
        if self.connected or self._breaker.state == "closed":
            _log.warning("Kafka does not answer: %s", type(error).__name__)
        self.connected = False

    def own(self, partitions: Iterable[TopicPartition]) -> None:
        """Partitions that are ours from now on."""
        with self._lock:
            for partition in partitions:
                self._owned.setdefault(partition, Progress())

    def disown(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        """Partitions that are not ours any more; what of them is still to be committed."""
        partitions = set(partitions)
        offsets = self._to_commit(partitions)
        with self._lock:
            for partition in partitions:
                self._owned.pop(partition, None)
        return offsets

    def counted(self, kind: str) -> None:
        """Counts a change of ownership."""
        self._metrics.rebalances.labels(kind).inc()


class _Owning(ConsumerRebalanceListener):  # type: ignore[misc]
    """Called in kafka-python's own thread while ``poll`` waits; must not block."""

    def __init__(self, reader: Reader, consumer: KafkaConsumer) -> None:
        self._reader = reader
        self._consumer = consumer

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._reader.own(assigned)
        self._reader.counted("assigned")

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        offsets = self._reader.disown(revoked)
        if offsets:
            self._consumer.commit_async(offsets)
        self._reader.counted("revoked")

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        self._reader.disown(lost)
        self._reader.counted("lost")


def _reach(servers: Iterable[str]) -> None:
    """Raises OSError if no server takes a connection.

    A consumer that cannot start leaves a thread behind, so it is made only where it can.
    """
    for server in servers:
        host, _, port = server.rpartition(":")
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host.strip("[]"), int(port)), _REACH_S),
        ):
            return
    raise ConnectionError("no bootstrap server takes a connection")


def _message(record: object) -> Message:
    return Message(
        record.topic,  # type: ignore[attr-defined]
        record.partition,  # type: ignore[attr-defined]
        record.offset,  # type: ignore[attr-defined]
        record.timestamp or 0,  # type: ignore[attr-defined]
        record.key,  # type: ignore[attr-defined]
        record.value,  # type: ignore[attr-defined]
        tuple(record.headers),  # type: ignore[attr-defined]
    )
