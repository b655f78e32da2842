"""Spans of the model stage: the wait in the queue, the engine batch, the engine's run.

An engine batch holds texts of many requests. Each sampled one gets its own ``infer`` span,
linked to the one ``batch`` span, which is linked to the spans of all of them and lies in the
trace of the first.
"""

import time
from collections.abc import Sequence

from deployments.batching.encoded_text import EncodedText
from deployments.payloads import Contexts
from deployments.telemetry.spans import Span, done, rows_of

_MODEL = "Model"


def queue_spans(texts: Sequence[EncodedText], contexts: Contexts) -> list[Span]:
    """For each sampled request, from its first text's arrival to its last one's start."""
    spans = []
    for context, rows in rows_of(contexts).items():
        starts = [start for i in rows if (start := texts[i].started_s) is not None]
        if starts:
            queued_s = min(texts[i].queued_s for i in rows)
            facts = {"sentigraph.texts": len(rows)}
            spans.append(done("queue", _MODEL, context, queued_s, max(starts), attributes=facts))
    return spans


def engine_spans(
    texts: Sequence[EncodedText], digest: str, facts: Sequence[float]
) -> tuple[Span, ...]:
    """Spans of a batch that ran until now.

    Args:
        texts: Its rows.
        digest: Of the bundle that ran.
        facts: As a row of ``ScoreBatch.batches``.
    """
    sampled = rows_of(text.context for text in texts)
    if not sampled:
        return ()
    ended_s = time.monotonic()
    links = tuple(sampled)
    rows, tokens, cells, predicted_s, infer_s = facts
    started_s = ended_s - infer_s
    batch = done(
        "batch",
        _MODEL,
        # It lies in the trace of its first request.
        links[0],
        min(text.started_s or started_s for text in texts),
        ended_s,
        attributes={
            "sentigraph.model.digest": digest,
            "sentigraph.batch.rows": int(rows),
            "sentigraph.batch.tokens": int(tokens),
            "sentigraph.batch.padded_tokens": int(cells),
            "sentigraph.batch.predicted_ms": round(predicted_s * 1_000, 3),
        },
        links=links,
    )
    infers = [
        done(
            "infer",
            _MODEL,
            context,
            started_s,
            ended_s,
            attributes={"sentigraph.texts": len(mine)},
            links=(batch.context,),
        )
        for context, mine in sampled.items()
    ]
    return (batch, *infers)
