"""The messages: bytes of Kafka → a text to classify, an answer → bytes of Kafka.

Nothing in a result's value says when or by whom a message was answered, so a message that is
delivered twice gives the same result twice (ADR 0014); only a traced one's headers differ.
``docs/schemas/`` holds the JSON Schemas.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import orjson
from pydantic import BaseModel, ConfigDict, Field

from deployments.errors import InvalidInput
from deployments.inference.validation import parse
from deployments.predictions import Answer
from deployments.telemetry.spans import Trace
from deployments.versions import BACKENDS

Headers = Sequence[tuple[str, bytes]]
# W3C trace context and our correlation id go from a request to its result as they are.
_PASSED_ON = ("traceparent", "tracestate", "x-correlation-id")


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it lies in a topic.

    Attributes:
        legible: Whether all header names are UTF-8; of others ``headers`` shows the ASCII part.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = field(default=())
    legible: bool = True


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to be written."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers = field(default=())


class StreamRequest(BaseModel):
    """A message of the requests topic. Other fields are allowed and have no effect."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: str = Field(
        min_length=1, max_length=256, description="The sender's name for it; the result's key."
    )
    text: str = Field(description="What to classify.")


class StreamResult(BaseModel):
    """A message of the responses topic."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    id: str = Field(description="As in the request.")
    prediction_id: str = Field(description="UUID; a repeated delivery of the message has the same.")
    label: str = Field(description="The label of the highest score.")
    score: float = Field(
        description="Probability of the label; of a regression model without activation its value."
    )
    scores: dict[str, float] = Field(description="Score by label.")
    labels: list[str] | None = Field(
        default=None,
        description="Of a multi-label model, and of no other: the labels whose score reaches their "
        "threshold; may be empty.",
    )
    n_tokens: int = Field(ge=0)
    truncated: bool = Field(description="Whether the model saw only the beginning.")
    text_length: int = Field(ge=1, description="Characters, without white space around.")
    model_name: str
    model_version: int
    model_digest: str
    backend: str


def read_request(message: Message, check: Callable[[str], str]) -> StreamRequest:
    """The request in a message.

    Args:
        message: As it was read.
        check: Returns the text without white space around, or raises a ``RequestError``.

    Raises:
        RequestError: What HTTP would say of the same body; the message names no content.
    """
    if not message.legible:
        raise InvalidInput("a header's name is not UTF-8", {"field": "headers"})
    if message.value is None:
        raise InvalidInput("the message has no value", {"field": "value"})
    request = parse(StreamRequest, message.value)
    return request.model_copy(update={"text": check(request.text)})


def result(
    topic: str,
    message: Message,
    request: StreamRequest,
    answer: Answer,
    *,
    trace: Trace | None = None,
) -> Outgoing:
    """What goes to the responses topic; its value is a ``StreamResult``.

    A sampled message's result belongs to the span that answered it, any other's to the
    span that sent the request.
    """
    model = answer.model
    body = answer.body()
    # A text that comes again may be remembered then; its result is the same.
    del body["cached"]
    value = {
        "id": request.id,
        **body,
        "model_name": model.name,
        "model_version": model.version,
        "model_digest": model.digest,
        "backend": BACKENDS[model.kind],
    }
    headers = [(name, value) for name, value in message.headers if name in _PASSED_ON]
    if trace is not None:
        own = ("traceparent", trace.context.traceparent.encode("ascii"))
        headers = [own, *(header for header in headers if header[0] != "traceparent")]
    headers += [
        ("model-name", model.name.encode()),
        ("model-version", b"%d" % model.version),
        ("model-digest", model.digest.encode()),
        ("origin", origin_of(message)),
    ]
    return Outgoing(
        topic, request.id.encode("utf-8", "surrogatepass"), orjson.dumps(value), headers
    )


def origin_of(message: Message) -> bytes:
    """``TOPIC:PARTITION:OFFSET``."""
    return f"{message.topic}:{message.partition}:{message.offset}".encode()
