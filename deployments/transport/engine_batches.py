"""Engine batches as payloads, with a span for each in every trace that has a text in it."""

import dataclasses
import time
from collections.abc import Mapping, Sequence

import numpy as np

from deployments.batching.encoded_text import EncodedText
from deployments.payloads import Contexts, EncodingBatch, ScoreBatch
from deployments.telemetry.spans import Span, SpanContext, done

Hops = Mapping[SpanContext, SpanContext]
"""By the span of a request that of its part in a batch."""


def payload(texts: Sequence[EncodedText], hops: Hops) -> EncodingBatch:
    """Texts of one model and class, that run together."""
    now = time.monotonic()
    contexts: Contexts = ()
    if hops:
        contexts = tuple(None if text.context is None else hops[text.context] for text in texts)
    return EncodingBatch(
        texts[0].digest,
        np.concatenate([text.ids for text in texts]),
        np.array([len(text.ids) for text in texts], dtype=np.int32),
        np.array([text.deadline_s - now for text in texts], dtype=np.float32),
        np.full(len(texts), texts[0].bulk),
        contexts,
    )


def hops_of(texts: Sequence[EncodedText]) -> Hops:
    """The span of this batch in each trace that has a text in it."""
    return {context: context.child() for text in texts if (context := text.context) is not None}


def with_hops(
    answer: ScoreBatch,
    texts: Sequence[EncodedText],
    hops: Hops,
    deployment: str,
    started_s: float,
) -> ScoreBatch:
    """Adds the spans of a batch that was sent at ``started_s`` and is back now."""
    ended_s = time.monotonic()
    spans: list[Span] = []
    for parent, own in hops.items():
        mine = sum(text.context == parent for text in texts)
        facts = {"sentigraph.texts": mine, "sentigraph.hop.texts": len(texts)}
        spans.append(
            done(
                "hop",
                deployment,
                parent,
                started_s,
                ended_s,
                context=own,
                attributes=facts,
                kind="client",
            )
        )
    return dataclasses.replace(answer, spans=(*spans, *answer.spans))
