"""Kafka → micro-batches, in a thread: what is read, paused, committed, and how far behind.

One poll is one micro-batch. Offsets are committed only up to the first message that is not
acknowledged. A broker that does not answer is left alone by a breaker and tried again; the
rest of the replica does not notice.
"""

import logging
import threading
import time
from collections.abc import Callable

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.errors import KafkaConfigurationError, KafkaError

from configs.schema.dependencies import BreakerConfig
from configs.schema.stream import StreamConfig
from deployments.clients.circuit_breaker import Breaker, BreakerOpen
from deployments.stream import client_options
from deployments.stream.client_patches import SaslLogin, accept_any_header_names, make
from deployments.stream.offsets import Delivery, OffsetTracker
from deployments.telemetry.stream_metrics import StreamMetrics

_log = logging.getLogger("ray.serve")
_POLL_MS = 100
_PAUSED_POLL_MS = 20
_LOOK_S = 2.0
_CALL_MS = 3_000
_CLOSE_MS = 3_000
# Paused at the bound, resumed when a quarter of it is free.
_RESUME = 0.75


class Consumer:
    """One consumer of the group, in a thread of its own.

    Attributes:
        tracker: The offsets of what it reads; acknowledge there.
        connected: Whether a broker answered lately.
        lag: Messages not yet acknowledged, by partition.
        rate: Messages acknowledged a second, lately.
    """

    def __init__(
        self,
        config: StreamConfig,
        breaker: BreakerConfig,
        deliver: Callable[[list[Delivery]], object],
        metrics: StreamMetrics,
        on_breaker: Callable[[str], None],
        *,
        login: SaslLogin,
    ) -> None:
        """Opens nothing yet; ``start`` begins.

        Args:
            config: What and how much.
            breaker: When a broker that does not answer is left alone.
            deliver: Called with each micro-batch, in the consumer's thread.
            metrics: Where facts are counted.
            on_breaker: Called with each new state of the breaker.
            login: The password as it is now.
        """
        accept_any_header_names()
        self._config = config
        self._login = login
        self._deliver = deliver
        self._metrics = metrics
        self._breaker = Breaker(breaker, on_breaker)
        self._paused = False
        self._stopping = threading.Event()
        self._closing = threading.Event()
        self.tracker = OffsetTracker()
        self.connected = False
        self.lag: dict[int, int] = {}
        self.rate = 0.0
        self._thread = threading.Thread(target=self._run, name="kafka-reader", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

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
                    client_options.reach(self._config)
                    consumer = make(
                        KafkaConsumer, client_options.consumer(self._config), self._login
                    )
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
            owning = _Owning(self.tracker, consumer, self._metrics)
            consumer.subscribe([self._config.requests_topic], listener=owning)
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
            self.tracker.disown_all()

    def _read(self, consumer: KafkaConsumer) -> None:
        in_flight, most = self.tracker.in_flight, self._config.max_in_flight
        room = most - in_flight
        if self._stopping.is_set() or room <= 0:
            self._paused = True
        elif in_flight <= most * _RESUME:
            self._paused = False
        if self._paused:
            consumer.pause(*(consumer.assignment() - consumer.paused()))
        else:
            consumer.resume(*consumer.paused())
        polled = consumer.poll(
            timeout_ms=_PAUSED_POLL_MS if self._paused else _POLL_MS,
            max_records=max(1, min(self._config.max_poll_records, room)),
        )
        for partition, records in polled.items():
            labels = (partition.topic, str(partition.partition))
            self._metrics.consumed.labels(*labels).inc(len(records))
        batch = self.tracker.read(polled)
        self._metrics.in_flight.set(self.tracker.in_flight)
        if batch:
            self._metrics.batch_size.observe(len(batch))
            self._deliver(batch)

    def _commit(self, consumer: KafkaConsumer) -> None:
        offsets = self.tracker.to_commit()
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
        else:
            self.tracker.committed(offsets)

    def _look(self, consumer: KafkaConsumer) -> None:
        """Asks a broker for the end of each partition: the lag, and whether it answers at all."""
        starts = self.tracker.unfinished()
        try:
            with self._breaker.guard():
                # Asked without a partition as well: only an answer proves that it is there.
                topic = self._config.requests_topic
                known = consumer.partitions_for_topic(topic) or ()
                asked = list(starts) or [TopicPartition(topic, number) for number in known]
                ends = consumer.end_offsets(asked, timeout_ms=_CALL_MS)
        except BreakerOpen:
            return
        except KafkaError as error:
            self._lost(error)
            return
        self.connected = True
        lag = {}
        for partition in consumer.assignment() & starts.keys():
            # The fetch answers' mark is newer, except on partitions that are paused.
            end = max(ends.get(partition) or 0, consumer.highwater(partition) or 0)
            start = starts[partition]
            at = consumer.position(partition, timeout_ms=_CALL_MS) if start is None else start
            lag[partition.partition] = max(0, end - (at or 0))
        for gone in self.lag.keys() - lag.keys():
            self._metrics.lag.remove(str(gone))
        for number, behind in lag.items():
            self._metrics.lag.labels(str(number)).set(behind)
        self.lag, self.rate = lag, self.tracker.rate()
        self._metrics.rate.set(self.rate)

    def _lost(self, error: Exception) -> None:
        if self.connected:
            _log.warning("Kafka does not answer: %s", type(error).__name__)
        self.connected = False


class _Owning(ConsumerRebalanceListener):  # type: ignore[misc]
    """Called in kafka-python's own thread while ``poll`` waits; must not block."""

    def __init__(
        self, tracker: OffsetTracker, consumer: KafkaConsumer, metrics: StreamMetrics
    ) -> None:
        self._tracker = tracker
        self._consumer = consumer
        self._changes = metrics.rebalances

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._tracker.own(assigned)
        self._changes.labels("assigned").inc()

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        offsets = self._tracker.disown(revoked)
        if offsets:
            self._consumer.commit_async(offsets)
        self._changes.labels("revoked").inc()

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        self._tracker.disown(lost)
        self._changes.labels("lost").inc()
