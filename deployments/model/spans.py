"""Spans of the model stage: the wait in the queue, the engine batch, the engine's run.

An engine batch holds texts of many requests. Each sampled one gets its own ``infer`` span,
linked to the one ``batch`` span, which is linked to the spans of all of them and lies in the
trace of the first.
"""

import time
from collections.abc import Sequence
from typing import Any

from deployments.batching.batcher import Ticket
from deployments.payloads import Contexts
from deployments.telemetry.spans import Span, done, rows_of

_MODEL = "Model"


def queue_spans(tickets: Sequence[Ticket[Any, Any]], contexts: Contexts) -> list[Span]:
    """For each sampled request, from its first text's arrival to its last one's start."""
    spans = []
    for context, rows in rows_of(contexts).items():
        starts = [start for i in rows if (start := tickets[i].started_s) is not None]
        if starts:
            queued_s = min(tickets[i].queued_s for i in rows)
            facts = {"sentigraph.texts": len(rows)}
            spans.append(done("queue", _MODEL, context, queued_s, max(starts), attributes=facts))
    return spans


def engine_spans(
    tickets: Sequence[Ticket[Any, Any]], digest: str, facts: Sequence[float], started_s: float
) -> dict[int, tuple[Span, ...]]:
    """Spans of a batch that ran until now, by the first row of the request they belong to.

    Args:
        tickets: The batch's rows; ``item.context`` is the span of the RPC that brought it, if any.
        digest: Of the bundle that ran.
        facts: As a row of ``ScoreBatch.batches``.
        started_s: When the engine began, on ``time.monotonic``.
    """
    sampled = rows_of([ticket.item.context for ticket in tickets])
    if not sampled:
        return {}
    ended_s = time.monotonic()
    links = tuple(sampled)
    rows, tokens, cells, predicted_s, _ = facts
    batch = done(
        "batch",
        _MODEL,
        links[0],
        min(ticket.started_s or started_s for ticket in tickets),
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
    spans: dict[int, tuple[Span, ...]] = {}
    for context, mine in sampled.items():
        count = {"sentigraph.texts": len(mine)}
        infer = done(
            "infer", _MODEL, context, started_s, ended_s, attributes=count, links=(batch.context,)
        )
        # The batch lies in the trace of its first request.
        spans[mine[0]] = (infer,) if spans else (batch, infer)
    return spans
