"""The topic of dead letters, read to its end, and sent again.

Kafka keeps which were sent again as the offsets of the group ``GROUP-redrive``, with those above
in the offset's metadata (``redriven_offsets.py``). A message that is sent again keeps its id, so
its result is recognised.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from configs.schema.stream import StreamConfig
from deployments.stream import client_options, redriven_offsets
from deployments.stream.client_patches import accept_any_header_names
from deployments.stream.dead_letters import DeadLetter, NotADeadLetter, read_letter, restored
from deployments.stream.messages import Message
from deployments.stream.offsets import read_message

_POLL_MS = 500
_READ_S = 60.0


class TopicUnavailable(Exception):
    """Kafka does not answer, or not all letters could be read in time."""


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A dead letter, the message that holds it, and whether it was sent again already."""

    message: Message
    letter: DeadLetter
    redriven: bool = False

    @property
    def name(self) -> str:
        """``PARTITION:OFFSET`` in the topic."""
        return f"{self.message.partition}:{self.message.offset}"


class DeadLetterTopic:
    """A reader of the topic: ``with DeadLetterTopic(config, everything=True) as topic``.

    Args:
        config: Brokers and names of topics.
        everything: Also what was sent again.

    Attributes:
        letters: All of them, in the order of each partition.
        foreign: ``PARTITION:OFFSET`` of messages that are no dead letters.
    """

    def __init__(self, config: StreamConfig, *, everything: bool) -> None:
        self._config = config
        self._everything = everything
        self._consumer: KafkaConsumer | None = None
        self.letters: list[StoredLetter] = []
        self.foreign: list[str] = []
        # By partition: all below the offset, and these above it, were sent again.
        self._done: dict[TopicPartition, tuple[int, frozenset[int]]] = {}

    def __enter__(self) -> Self:
        """Reads to the present end.

        Raises:
            TopicUnavailable: Kafka does not answer, or reading takes longer than a minute.
        """
        accept_any_header_names()
        try:
            client_options.reach(self._config)
            self._consumer = KafkaConsumer(**_connection(self._config))
            self._seek(self._consumer)
            for message in _read(self._consumer):
                redriven = self._is_done(message)
                if redriven and not self._everything:
                    continue
                try:
                    self.letters.append(StoredLetter(message, read_letter(message), redriven))
                except NotADeadLetter:
                    self.foreign.append(f"{message.partition}:{message.offset}")
        except BaseException as error:
            self.__exit__()
            if isinstance(error, (KafkaError, OSError)):
                raise _unavailable(self._config, error) from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the connection."""
        if self._consumer is not None:
            self._consumer.close()

    def send_again(self, letters: Iterable[StoredLetter]) -> int:
        """Sends the messages to the topics they came from; how many of them had a content.

        Returns once the brokers have acknowledged all.

        Raises:
            TopicUnavailable: They do not.
        """
        again = [restored(found.message, found.letter) for found in letters]
        try:
            with KafkaProducer(**client_options.producer(self._config)) as producer:
                sent = [
                    producer.send(r.topic, key=r.key, value=r.value, headers=list(r.headers))
                    for r in again
                    if r is not None
                ]
                for acknowledgement in sent:
                    acknowledgement.get(timeout=self._config.delivery_timeout_ms / 1_000)
        except (KafkaError, OSError) as error:
            raise _unavailable(self._config, error) from error
        return len(sent)

    def mark_redriven(self, letters: Iterable[StoredLetter] | None = None) -> None:
        """Records that these were sent again; without ``letters``, all to the end of what was read.

        To be called after ``send_again``: a crash in between sends twice, never not at all.

        Raises:
            TopicUnavailable: Kafka does not take the offsets, or they do not fit beside one.
        """
        consumer = self._consumer
        assert consumer is not None
        try:
            if letters is None:
                marks = {p: (consumer.position(p), "") for p in consumer.assignment()}
            else:
                marks = self._marks(letters)
            consumer.commit(
                {p: OffsetAndMetadata(offset, text, -1) for p, (offset, text) in marks.items()}
            )
        except (KafkaError, OSError) as error:
            raise _unavailable(self._config, error) from error
        except redriven_offsets.TooManyRanges as error:
            raise TopicUnavailable(f"sent again, but not recorded: {error}; use --all") from error

    def _marks(self, letters: Iterable[StoredLetter]) -> dict[TopicPartition, tuple[int, str]]:
        sent: dict[TopicPartition, set[int]] = {}
        for found in letters:
            partition = TopicPartition(self._config.dlq_topic, found.message.partition)
            sent.setdefault(partition, set()).add(found.message.offset)
        return {
            partition: redriven_offsets.compact(below, above | sent[partition])
            for partition, (below, above) in self._done.items()
            if partition in sent
        }

    def _is_done(self, message: Message) -> bool:
        partition = TopicPartition(self._config.dlq_topic, message.partition)
        below, above = self._done[partition]
        return message.offset < below or message.offset in above

    def _seek(self, consumer: KafkaConsumer) -> None:
        partitions = _partitions(consumer, self._config)
        consumer.assign(partitions)
        beginnings = consumer.beginning_offsets(partitions) if partitions else {}
        for partition in partitions:
            kept = consumer.committed(partition, metadata=True)
            below = beginnings[partition] if kept is None else kept.offset
            above = (
                frozenset[int]() if kept is None else redriven_offsets.parse(kept.metadata or "")
            )
            self._done[partition] = (below, above)
            if kept is None or self._everything:
                consumer.seek_to_beginning(partition)
            else:
                consumer.seek(partition, below)


def redriven_to(config: StreamConfig) -> dict[int, int]:
    """The offset that the last full redrive ended at, by partition; empty before the first.

    Raises:
        TopicUnavailable: Kafka does not answer.
    """
    with _group(config) as consumer:
        ends = {p.partition: consumer.committed(p) for p in _partitions(consumer, config)}
    return {number: end for number, end in ends.items() if end is not None}


def set_redriven_to(config: StreamConfig, ends: Mapping[int, int]) -> None:
    """Lets the next redrive begin there, as ``redriven_to`` had it.

    Raises:
        TopicUnavailable: Kafka does not take the offsets.
    """
    with _group(config) as consumer:
        known = _partitions(consumer, config)
        consumer.assign(known)
        consumer.commit(
            {p: OffsetAndMetadata(ends[p.partition], "", -1) for p in known if p.partition in ends}
        )


def _partitions(consumer: KafkaConsumer, config: StreamConfig) -> list[TopicPartition]:
    numbers = consumer.partitions_for_topic(config.dlq_topic) or set()
    return [TopicPartition(config.dlq_topic, number) for number in sorted(numbers)]


@contextmanager
def _group(config: StreamConfig) -> Iterator[KafkaConsumer]:
    """A member of the redrive's group that has no partition."""
    consumer = None
    try:
        consumer = KafkaConsumer(**_connection(config))
        yield consumer
    except (KafkaError, OSError) as error:
        raise _unavailable(config, error) from error
    finally:
        if consumer is not None:
            consumer.close()


def _connection(config: StreamConfig) -> dict[str, Any]:
    group = {"group_id": f"{config.group}-redrive", "enable_auto_commit": False}
    return {**client_options.connection(config), **group}


def _unavailable(config: StreamConfig, error: Exception) -> TopicUnavailable:
    servers = ", ".join(config.bootstrap_servers)
    kind, said = type(error).__name__, str(error).removeprefix(f"{type(error).__name__}: ")
    why = said if isinstance(error, OSError) else f"{kind}: {said}".removesuffix(": ")
    return TopicUnavailable(f"Kafka at {servers}: {why}; --bootstrap-servers names other brokers")


def _read(consumer: KafkaConsumer) -> Iterator[Message]:
    """To the end: past the offsets that the broker names, and until a poll brings nothing."""
    assigned = consumer.assignment()
    ends = consumer.end_offsets(assigned) if assigned else {}
    deadline_s = time.monotonic() + _READ_S
    polled: dict[TopicPartition, list[Any]] = {}
    while polled or any(consumer.position(p) < end for p, end in ends.items()):
        if time.monotonic() > deadline_s:
            raise TopicUnavailable(f"the dead letters could not be read in {_READ_S:g} s")
        polled = consumer.poll(timeout_ms=_POLL_MS)
        for records in polled.values():
            yield from map(read_message, records)
