"""Messages that could not be answered: list them, show one, send them again.

``list`` and ``redrive`` go from where the last ``redrive --all`` ended, which Kafka keeps as
the offsets of the group ``GROUP-redrive``; ``list --all`` shows those before as well. A message
that is sent again keeps its id, so its result is recognised.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from configs.load import load_config
from configs.schema.stream import StreamConfig
from deployments.stream import client_options as options
from deployments.stream.client_patches import accept_any_header_names
from deployments.stream.dead_letters import DeadLetter, NotADeadLetter, read_letter, restored
from deployments.stream.messages import Message
from deployments.stream.offsets import read_message
from operations.errors import OperationError

_POLL_MS = 500
_READ_S = 60.0


@dataclass(frozen=True, slots=True)
class Found:
    """A dead letter and the message that holds it."""

    message: Message
    letter: DeadLetter

    @property
    def name(self) -> str:
        """How ``show`` and ``redrive`` are told of it: ``PARTITION:OFFSET``."""
        return f"{self.message.partition}:{self.message.offset}"

    def facts(self) -> dict[str, object]:
        """All but the content."""
        return {
            "letter": self.name,
            "reason": self.letter.error.error_code,
            "message": self.letter.error.error_message,
            "attempts": self.letter.retry_count,
            "origin": "{topic}:{partition}:{offset}".format(**self.letter.metadata.model_dump()),
            "given_up": self.letter.timestamp.isoformat(timespec="seconds"),
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``list``, ``show`` and ``redrive``."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="what waits, without contents")
    listing.add_argument("--all", action="store_true", help="also what was sent again")
    listing.add_argument("--reason", help="only of this error code, for example E1001")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    show = commands.add_parser("show", help="one, as JSON")
    show.add_argument("letter", metavar="PARTITION:OFFSET")
    show.add_argument("--content", action="store_true", help="with the message itself")
    again = commands.add_parser("redrive", help="send again, to the topic it came from")
    again.add_argument("letters", nargs="*", metavar="PARTITION:OFFSET")
    again.add_argument("--all", action="store_true", help="everything since the last time")


def main(args: argparse.Namespace) -> int:
    """Runs one command."""
    config = load_config().stream
    try:
        if args.command == "list":
            return _list(config, args)
        if args.command == "show":
            return _show(config, args)
        return _redrive(config, args)
    except (KafkaError, OSError) as error:
        servers = ", ".join(config.bootstrap_servers)
        raise OperationError(f"Kafka at {servers}: {type(error).__name__}") from error


def _list(config: StreamConfig, args: argparse.Namespace) -> int:
    with _letters(config, everything=args.all) as (_, found):
        rows = [row.facts() for row in found if args.reason in (None, row.letter.error.error_code)]
    for row in rows:
        if args.json:
            print(json.dumps(row))
        else:
            print("{letter:>10}  {reason}  {attempts} attempts  {origin}  {message}".format(**row))
    print(f"{len(rows)} dead letters in {config.dlq_topic}", file=sys.stderr)
    return 0


def _show(config: StreamConfig, args: argparse.Namespace) -> int:
    with _letters(config, everything=True) as (_, letters):
        row = next((found for found in letters if found.name == args.letter), None)
    if row is None:
        raise OperationError(f"{config.dlq_topic} holds no dead letter {args.letter}")
    facts = row.facts()
    if args.content:
        facts["content"] = row.letter.model_dump(
            include={"message", "message_base64", "omitted_bytes"}
        )
    print(json.dumps(facts, indent=2))
    return 0


def _redrive(config: StreamConfig, args: argparse.Namespace) -> int:
    if bool(args.letters) == args.all:
        raise OperationError("name the letters, or say --all")
    with _letters(config, everything=not args.all) as (consumer, letters):
        chosen = [found for found in letters if args.all or found.name in args.letters]
        missing = set(args.letters) - {found.name for found in chosen}
        if missing:
            raise OperationError(f"{config.dlq_topic} holds no {', '.join(sorted(missing))}")
        again = [restored(found.message, found.letter) for found in chosen]
        with KafkaProducer(**options.producer(config)) as producer:
            sent = [
                producer.send(r.topic, key=r.key, value=r.value, headers=list(r.headers))
                for r in again
                if r is not None
            ]
            for acknowledgement in sent:
                acknowledgement.get(timeout=config.delivery_timeout_ms / 1_000)
        if args.all:
            # After the acknowledgements: a crash before sends twice, never not at all.
            ends = {
                p: OffsetAndMetadata(consumer.position(p), "", -1) for p in consumer.assignment()
            }
            consumer.commit(ends)
    left = len(again) - len(sent)
    print(f"{len(sent)} messages sent again" + (f", {left} without content" if left else ""))
    return 0 if not left else 1


@contextmanager
def _letters(
    config: StreamConfig, *, everything: bool
) -> Iterator[tuple[KafkaConsumer, list[Found]]]:
    """All dead letters, from the beginning or from where the last ``redrive --all`` ended."""
    accept_any_header_names()
    group = {"group_id": f"{config.group}-redrive", "enable_auto_commit": False}
    consumer = KafkaConsumer(**options.connection(config), **group)
    try:
        numbers = consumer.partitions_for_topic(config.dlq_topic) or set()
        partitions = [TopicPartition(config.dlq_topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        for partition in partitions:
            done = None if everything else consumer.committed(partition)
            if done is None:
                consumer.seek_to_beginning(partition)
            else:
                consumer.seek(partition, done)
        yield consumer, list(_read(consumer))
    finally:
        consumer.close()


def _read(consumer: KafkaConsumer) -> Iterator[Found]:
    """To the end: past the offsets that the broker names, and until a poll brings nothing."""
    assigned = consumer.assignment()
    ends = consumer.end_offsets(assigned) if assigned else {}
    deadline_s = time.monotonic() + _READ_S
    polled: dict[TopicPartition, list[Any]] = {}
    while polled or any(consumer.position(p) < end for p, end in ends.items()):
        if time.monotonic() > deadline_s:
            raise OperationError(f"the dead letters could not be read in {_READ_S:g} s")
        polled = consumer.poll(timeout_ms=_POLL_MS)
        for record in (record for records in polled.values() for record in records):
            message = read_message(record)
            try:
                yield Found(message, read_letter(message))
            except NotADeadLetter:
                print(f"{record.partition}:{record.offset} is no dead letter", file=sys.stderr)
