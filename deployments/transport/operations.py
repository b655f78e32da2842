"""What the sockets of Model and Tokenizer replicas answer."""

import time
from collections.abc import Awaitable, Callable

import numpy as np

from deployments.payloads import Encodings, RunModel, TextBatch
from deployments.transport.endpoint import Answer, Operation
from deployments.transport.wire import (
    BadMessage,
    Header,
    pack_encodings,
    pack_scores,
    read_contexts,
    read_encodings_asked,
)


def score(run: RunModel) -> Operation:
    """Scores an engine batch."""

    async def answer(header: Header, body: bytes) -> Answer:
        return pack_scores(await run(read_encodings_asked(header, body)))

    return answer


def tokenize(
    encode: Callable[[TextBatch], Awaitable[Encodings]], busy: Callable[[int, float], None]
) -> Operation:
    """Encodes texts; ``busy`` is given how many, and the seconds that it took."""

    async def answer(header: Header, body: bytes) -> Answer:
        texts = header.get("texts")
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise BadMessage("no texts")
        count = len(texts)
        left, bulk = np.zeros(count, dtype=np.float32), np.zeros(count, dtype=np.bool_)
        batch = TextBatch(str(header.get("digest")), texts, left, bulk, read_contexts(header))
        began_s = time.monotonic()
        encoded = await encode(batch)
        busy(count, time.monotonic() - began_s)
        return pack_encodings(encoded)

    return answer
