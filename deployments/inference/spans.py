"""Spans of the texts of sampled requests: cache lookups, the wait in the queue, the RPC."""

from collections.abc import Collection, Mapping, Sequence

from deployments.batching.scheduler import Ticket
from deployments.payloads import Contexts, Encodings, ModelAnswer
from deployments.telemetry.spans import AttributeValue, SpanContext, Trace

Rows = Mapping[Trace, Sequence[int]]
"""Positions of each trace's texts."""


def looked_up(level: str, rows: Rows, start_s: float, end_s: float, hits: Collection[int]) -> None:
    """A lookup in one level of the cache."""
    for trace, mine in rows.items():
        found = sum(row in hits for row in mine)
        facts: dict[str, AttributeValue] = {
            "sentigraph.cache.level": level,
            "sentigraph.texts": len(mine),
            "sentigraph.cache.hits": found,
            "sentigraph.cache.hit": found == len(mine),
        }
        trace.add("cache lookup", start_s, end_s, attributes=facts)


def shared(rows: Rows, brought_by: Sequence[Trace | None], start_s: float, end_s: float) -> None:
    """Texts that other requests had asked for; linked to those requests that are sampled."""
    for trace, mine in rows.items():
        others = [brought_by[row] for row in mine if brought_by[row] is not trace]
        if others:
            links = {other.context for other in others if other is not None}
            facts = {"sentigraph.texts": len(others)}
            trace.add("shared flight", start_s, end_s, attributes=facts, links=tuple(links))


def queued(rows: Rows, tickets: Sequence[Ticket]) -> None:
    """The wait in the queue: from the arrival of a request's first text to its last one's start."""
    for trace, mine in rows.items():
        end_s = max(tickets[row].started_s or 0.0 for row in mine)
        start_s = min(tickets[row].queued_s for row in mine)
        trace.add("queue", start_s, end_s, attributes={"sentigraph.texts": len(mine)})


def tokenized(rows: Rows, encoded: Encodings, start_s: float, end_s: float) -> None:
    """Texts that this replica tokenized; they share the time of all of them."""
    for trace, mine in rows.items():
        facts = {
            "sentigraph.texts": len(mine),
            "sentigraph.tokens": int(encoded.lengths[mine].sum()),
            "sentigraph.truncated": int(encoded.truncated[mine].sum()),
        }
        trace.add("tokenize", start_s, end_s, attributes=facts)


class HopSpans:
    """The span of one RPC in every trace that has a text in it.

    Attributes:
        contexts: What the RPC carries.
    """

    def __init__(self, rows: Rows, texts: int) -> None:
        self._rows = rows
        self._texts = texts
        self._own: dict[Trace, SpanContext] = {trace: trace.context.child() for trace in rows}
        by_row = {row: self._own[trace] for trace, mine in rows.items() for row in mine}
        self.contexts: Contexts = tuple(by_row.get(row) for row in range(texts)) if rows else ()

    def end(
        self, start_s: float, end_s: float, answer: ModelAnswer | None, error: str = ""
    ) -> None:
        """Adds the span of the RPC and those that came with its answer."""
        for trace, mine in self._rows.items():
            trace.add(
                "hop",
                start_s,
                end_s,
                context=self._own[trace],
                attributes={"sentigraph.texts": len(mine), "sentigraph.hop.texts": self._texts},
                kind="client",
                error=error,
            )
        if answer is not None:
            for trace in list(self._rows)[:1]:
                trace.adopt(answer.spans + answer.scores.spans)
