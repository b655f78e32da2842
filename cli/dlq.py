"""Messages that could not be answered: list them, show one, send them again.

``list`` shows what was not sent again yet; ``list --all`` everything. What was sent again is not
sent twice, unless ``redrive --again`` names it.
"""

import argparse
import json
import sys

from configs.load import load_config
from configs.schema.stream import StreamConfig
from deployments.stream.dead_letter_topic import DeadLetterTopic, StoredLetter, TopicUnavailable
from operations.errors import OperationError


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
    again.add_argument("--all", action="store_true", help="everything that was not sent again")
    again.add_argument("--again", action="store_true", help="also what was sent again already")
    for command in (listing, show, again):
        command.add_argument(
            "--bootstrap-servers", help="brokers (default: stream.bootstrap_servers)"
        )


def main(args: argparse.Namespace) -> int:
    """Runs one command.

    Raises:
        OperationError: Kafka does not answer, or has no such letter.
    """
    commands = {"list": _list, "show": _show, "redrive": _redrive}
    try:
        config = load_config().stream
        if args.bootstrap_servers:
            servers = tuple(part.strip() for part in args.bootstrap_servers.split(","))
            config = config.model_copy(update={"bootstrap_servers": servers})
        return commands[args.command](config, args)
    except TopicUnavailable as error:
        raise OperationError(str(error)) from error


def _list(config: StreamConfig, args: argparse.Namespace) -> int:
    with DeadLetterTopic(config, everything=args.all) as topic:
        rows = [_facts(found) for found in _letters(topic)]
    rows = [row for row in rows if args.reason in (None, row["reason"])]
    if rows and not args.json:
        print(f"{'letter':>10}  reason  attempts  sent again  {'origin':<32}  message")
    for row in rows:
        if args.json:
            print(json.dumps(row))
        else:
            again = "yes" if row["redriven"] else "no"
            print(
                "{letter:>10}  {reason:<6}  {attempts:>8}  {again:<10}  {origin:<32}  "
                "{message}".format(again=again, **row)
            )
    print(f"{len(rows)} dead letters in {config.dlq_topic}", file=sys.stderr)
    return 0


def _show(config: StreamConfig, args: argparse.Namespace) -> int:
    with DeadLetterTopic(config, everything=True) as topic:
        row = next((found for found in _letters(topic) if found.name == args.letter), None)
    if row is None:
        raise OperationError(f"{config.dlq_topic} holds no dead letter {args.letter}")
    facts = _facts(row)
    if args.content:
        facts["content"] = row.letter.model_dump(
            include={"message", "message_base64", "omitted_bytes"}
        )
    print(json.dumps(facts, indent=2))
    return 0


def _redrive(config: StreamConfig, args: argparse.Namespace) -> int:
    if bool(args.letters) == args.all:
        raise OperationError("name the letters, or say --all")
    with DeadLetterTopic(config, everything=not args.all) as topic:
        chosen = [found for found in _letters(topic) if args.all or found.name in args.letters]
        missing = set(args.letters) - {found.name for found in chosen}
        if missing:
            raise OperationError(f"{config.dlq_topic} holds no {', '.join(sorted(missing))}")
        repeated = [found.name for found in chosen if found.redriven]
        if repeated and not args.again:
            raise OperationError(
                f"{', '.join(repeated)}: sent again already; --again sends it once more"
            )
        sent = topic.send_again(chosen)
        topic.mark_redriven(None if args.all else chosen)
    left = len(chosen) - sent
    print(f"{sent} messages sent again" + (f", {left} without content" if left else ""))
    return 0 if not left else 1


def _letters(topic: DeadLetterTopic) -> list[StoredLetter]:
    for name in topic.foreign:
        print(f"{name} is no dead letter", file=sys.stderr)
    return topic.letters


def _facts(found: StoredLetter) -> dict[str, object]:
    """All but the content."""
    letter = found.letter
    return {
        "letter": found.name,
        "reason": letter.error.error_code,
        "message": letter.error.error_message,
        "attempts": letter.retry_count,
        "origin": "{topic}:{partition}:{offset}".format(**letter.metadata.model_dump()),
        "redriven": found.redriven,
        "given_up": letter.timestamp.isoformat(timespec="seconds"),
    }
