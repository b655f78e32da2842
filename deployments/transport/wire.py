"""Messages between replicas on a socket: a JSON header and some arrays, never a pickle.

    length (4 bytes) | length of the header (4) | header | arrays end to end

All numbers are little-endian. ``endpoint.py`` and ``connection.py`` send and take them.
"""

import asyncio
import struct
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import orjson

from deployments.payloads import Contexts, EncodingBatch, Encodings, ScoreBatch
from deployments.telemetry.spans import Span, SpanContext

Header = dict[str, Any]
Array = npt.NDArray[Any]

_SIZES = struct.Struct("<II")
# A batch of 4,096 texts of 512 tokens has 8 MB.
_MOST_BYTES = 1 << 26


class BadMessage(Exception):
    """It is none of ours; the connection is of no use any more."""


def message(header: Header, arrays: Sequence[Array] = ()) -> bytes:
    """One message."""
    head = orjson.dumps(header)
    parts = [array.tobytes() for array in arrays]
    size = _SIZES.size - 4 + len(head) + sum(map(len, parts))
    return b"".join((_SIZES.pack(size, len(head)), head, *parts))


class Messages(asyncio.Protocol):
    """One side of a connection; subclasses take what comes.

    Attributes:
        most_bytes: Of one message; a longer one ends the connection.
    """

    transport: asyncio.Transport
    most_bytes = _MOST_BYTES

    def __init__(self) -> None:
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        # uvloop's are no subclass of asyncio's, but have all its methods.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= _SIZES.size:
                size, head = _SIZES.unpack_from(buffer, start)
                if size > self.most_bytes or head > size - 4:
                    raise BadMessage("too long")
                end = start + 4 + size
                if len(buffer) < end:
                    break
                body = start + _SIZES.size + head
                header = orjson.loads(bytes(buffer[start + _SIZES.size : body]))
                if not isinstance(header, dict):
                    raise BadMessage("no header")
                self.received(header, bytes(buffer[body:end]))
                start = end
        except (BadMessage, orjson.JSONDecodeError):
            self.transport.abort()
            buffer.clear()
            return
        del buffer[:start]

    def received(self, header: Header, body: bytes) -> None:
        """A message came.

        Raises:
            BadMessage: The connection is to be closed.
        """
        raise NotImplementedError


class _Reader:
    """Arrays out of a body, in the order in which they were written."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, dtype: npt.DTypeLike, *shape: int) -> Array:
        count = int(np.prod(shape))
        size = np.dtype(dtype).itemsize * count
        if count < 0 or self._at + size > len(self._body):
            raise BadMessage("too short")
        array = np.frombuffer(self._body, dtype, count, self._at).reshape(shape)
        self._at += size
        return array


def _contexts(contexts: Contexts) -> list[list[str] | None]:
    return [
        None
        if context is None
        else [f"{context.trace_id:x}", f"{context.span_id:x}", context.state]
        for context in contexts
    ]


def _read_context(fields: Sequence[str]) -> SpanContext:
    return SpanContext(int(fields[0], 16), int(fields[1], 16), fields[2])


def read_contexts(header: Header) -> Contexts:
    """The spans that the texts of a message belong to."""
    return tuple(None if one is None else _read_context(one) for one in header.get("spans", ()))


def _spans(spans: Sequence[Span]) -> Header:
    if not spans:
        return {}
    rows = []
    for span in spans:
        (own,), links = _contexts((span.context,)), _contexts(span.links)
        facts = dict(span.attributes)
        times = span.start_ns, span.end_ns
        parent, place = f"{span.parent_id:x}", span.place
        rows.append((span.name, own, parent, *times, facts, links, span.kind, span.error, place))
    return {"done": rows}


def _read_spans(header: Header) -> tuple[Span, ...]:
    spans = []
    for name, own, parent, start, end, facts, links, kind, error, place in header.get("done", ()):
        linked = tuple(_read_context(link) for link in links)
        spans.append(
            Span(
                name,
                _read_context(own),
                int(parent, 16),
                start,
                end,
                facts,
                linked,
                kind,
                error,
                (place[0], place[1]),
            )
        )
    return tuple(spans)


def pack_encodings_asked(batch: EncodingBatch) -> tuple[Header, list[Array]]:
    """For ``read_encodings_asked``."""
    header: Header = {"digest": batch.digest, "texts": len(batch.lengths), "tokens": len(batch.ids)}
    if batch.contexts:
        header["spans"] = _contexts(batch.contexts)
    bulk = batch.bulk.astype(np.uint8)
    return header, [batch.lengths, batch.remaining_s, bulk, batch.ids]


def read_encodings_asked(header: Header, body: bytes) -> EncodingBatch:
    """Token ids that a model shall score.

    Raises:
        BadMessage: They are none.
    """
    take, count = _Reader(body).take, header["texts"]
    lengths = take("<i4", count)
    remaining_s, bulk = take("<f4", count), take(np.uint8, count).astype(np.bool_)
    ids = take("<i4", header["tokens"])
    if count < 1 or (lengths < 0).any() or lengths.sum() != len(ids):
        raise BadMessage("lengths do not fit")
    return EncodingBatch(header["digest"], ids, lengths, remaining_s, bulk, read_contexts(header))


def pack_scores(answer: ScoreBatch) -> tuple[Header, list[Array]]:
    """For ``read_scores``."""
    count, labels = answer.scores.shape
    header: Header = {"digest": answer.digest, "texts": count, "labels": labels}
    header |= {"batches": len(answer.batches), **_spans(answer.spans)}
    flags = [answer.expired.astype(np.uint8), answer.failed.astype(np.uint8)]
    seconds = [answer.queue_s, answer.infer_s, answer.cost_s, answer.batches]
    return header, [answer.scores, *flags, *(part.astype("<f4") for part in seconds)]


def read_scores(header: Header, body: bytes) -> ScoreBatch:
    """What a model answered.

    Raises:
        BadMessage: They are none.
    """
    take, count = _Reader(body).take, header["texts"]
    scores = take("<f4", count, header["labels"])
    expired, failed = (take(np.uint8, count).astype(np.bool_) for _ in range(2))
    queue_s, infer_s, cost_s = (take("<f4", count) for _ in range(3))
    batches = take("<f4", header["batches"], 5)
    spans = _read_spans(header)
    return ScoreBatch(
        header["digest"], scores, expired, failed, queue_s, infer_s, cost_s, batches, spans
    )


def pack_texts_asked(digest: str, texts: Sequence[str], contexts: Contexts) -> Header:
    """Texts that a tokenizer shall encode."""
    header: Header = {"digest": digest, "texts": list(texts)}
    if contexts:
        header["spans"] = _contexts(contexts)
    return header


def pack_encodings(encoded: Encodings) -> tuple[Header, list[Array]]:
    """For ``read_encodings``."""
    header = {"texts": len(encoded.lengths), "tokens": len(encoded.ids), **_spans(encoded.spans)}
    return header, [encoded.lengths, encoded.truncated.astype(np.uint8), encoded.ids]


def read_encodings(header: Header, body: bytes) -> Encodings:
    """What a tokenizer answered.

    Raises:
        BadMessage: They are none.
    """
    take, count = _Reader(body).take, header["texts"]
    lengths, truncated = take("<i4", count), take(np.uint8, count).astype(np.bool_)
    return Encodings(take("<i4", header["tokens"]), lengths, truncated, _read_spans(header))
