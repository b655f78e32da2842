"""Messages that cannot be answered: kept whole, with reason, origin and count of attempts.

The value is the specification's envelope; the headers repeat what a reader wants to filter by.
``restored`` is its inverse: the message as it came, to be sent again.
"""

import base64
from dataclasses import replace
from datetime import UTC, datetime

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deployments.errors import RequestError
from deployments.stream.messages import Headers, Message, Outgoing, origin_of

REASON, ORIGIN, ATTEMPTS, REDRIVES = "dlq-reason", "dlq-origin", "dlq-attempts", "dlq-redrives"
_OURS = (REASON, ORIGIN, ATTEMPTS)
_LAST_MS = 253_402_300_799_000


class Origin(BaseModel):
    """Where a message was read."""

    model_config = ConfigDict(frozen=True)

    topic: str
    partition: int = Field(ge=0)
    offset: int = Field(ge=0)
    timestamp: datetime


class Reason(BaseModel):
    """Why it was not answered; names no content."""

    model_config = ConfigDict(frozen=True)

    error_code: str
    error_message: str


class DeadLetter(BaseModel):
    """A message of the dead letters' topic. The first three fields are null if its value was."""

    model_config = ConfigDict(frozen=True)

    message: str | None = Field(description="The message's value, where it is UTF-8.")
    message_base64: str | None = Field(description="The message's value, where it is not UTF-8.")
    omitted_bytes: int | None = Field(
        description="Size of a value that does not fit into a dead letter; it lies at the origin."
    )
    metadata: Origin
    error: Reason
    retry_count: int = Field(ge=0, description="Attempts at classifying it.")
    timestamp: datetime = Field(description="When it was given up.")


class NotADeadLetter(Exception):
    """A message of the topic that this module did not write."""


def dead_letter(
    topic: str, message: Message, error: RequestError, attempts: int, now: datetime
) -> Outgoing:
    """The dead letter of a message."""
    text, encoded = None, None
    if message.value is not None:
        try:
            text = message.value.decode("utf-8")
        except UnicodeDecodeError:
            encoded = base64.b64encode(message.value).decode("ascii")
    letter = DeadLetter(
        message=text,
        message_base64=encoded,
        omitted_bytes=None,
        metadata=Origin(
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            timestamp=_time(message.timestamp_ms),
        ),
        error=Reason(error_code=error.code, error_message=error.message),
        retry_count=attempts,
        timestamp=now,
    )
    headers = [
        *message.headers,
        (REASON, error.code.encode()),
        (ORIGIN, origin_of(message)),
        (ATTEMPTS, b"%d" % attempts),
    ]
    # A tombstone needs a key; a letter has a value, so a missing key may stay missing.
    return Outgoing(topic, message.key, orjson.dumps(letter.model_dump(mode="json")), headers)


def _time(timestamp_ms: int) -> datetime:
    """Producers may write any number as the time; years end at 9999 here."""
    return datetime.fromtimestamp(min(max(timestamp_ms, 0), _LAST_MS) / 1_000, UTC)


def without_content(letter: Outgoing) -> Outgoing:
    """The letter of a message that is too large for its envelope: size and origin only."""
    value = orjson.loads(letter.value)
    if value["omitted_bytes"] is not None:
        return letter
    text, encoded = value["message"], value["message_base64"]
    size = len(base64.b64decode(encoded)) if encoded else len((text or "").encode())
    value |= {"message": None, "message_base64": None, "omitted_bytes": size}
    return replace(letter, value=orjson.dumps(value))


def read_letter(message: Message) -> DeadLetter:
    """The letter in a message of the topic.

    Raises:
        NotADeadLetter: It is something else.
    """
    try:
        return DeadLetter.model_validate_json(message.value or b"")
    except ValidationError:
        raise NotADeadLetter from None


def restored(message: Message, letter: DeadLetter) -> Outgoing | None:
    """The message as it came, for the topic it came from; None if it has no content."""
    if letter.message is not None:
        value = letter.message.encode("utf-8")
    elif letter.message_base64 is not None:
        value = base64.b64decode(letter.message_base64)
    else:
        return None
    redrives = int(header(message.headers, REDRIVES) or b"0") + 1
    kept = [(name, text) for name, text in message.headers if name not in (*_OURS, REDRIVES)]
    return Outgoing(
        letter.metadata.topic, message.key, value, [*kept, (REDRIVES, b"%d" % redrives)]
    )


def header(headers: Headers, name: str) -> bytes | None:
    """The last header of a name."""
    return next((value for found, value in reversed(list(headers)) if found == name), None)
