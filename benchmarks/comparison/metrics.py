"""From single outcomes to the figures of a row. Pure.

An answer counts from the moment at which its request was due, not from when it was sent, so a
server that stalls cannot hide the requests that would have come in that time. Requests that were
never answered enter the percentiles with the time that they had waited: a lower bound.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.loadgen.client import Outcome

GOODPUT_LIMIT_S = 0.100
_OK = 200
_SHED = (429, 503)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of load shows.

    Attributes:
        requests: Sent, or due in an open loop.
        ok: Answered with 200.
        throughput_per_s: Answers with 200 within the window, each second.
        goodput_per_s: Those of them that came within 100 ms.
        p50_ms: Median latency of answers with 200 and of unanswered requests; so are
            ``p95_ms`` and ``p99_ms``. None when there are none.
        p95_ms: See ``p50_ms``.
        p99_ms: See ``p50_ms``.
        shed: Refused with 429 or 503.
        errors: Any other status, or a broken connection.
        unanswered: Still without an answer when the run ended.
        refusal_p99_ms: From sending to a refusal (429 or 503).
        cached: Answers that came from a cache.
    """

    requests: int
    ok: int
    throughput_per_s: float
    goodput_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    shed: int
    errors: int
    unanswered: int
    refusal_p99_ms: float | None
    cached: int


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest of ``values`` that at least ``share`` of them do not exceed; None for none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def figures(outcomes: Sequence[Outcome], *, window_s: float, ended_s: float) -> Figures:
    """Sums one run up.

    Args:
        outcomes: Of every request.
        window_s: Time in which load was offered; rates are per second of it.
        ended_s: When the run gave up waiting.
    """
    done = [outcome for outcome in outcomes if outcome.done_s is not None]
    ok = [outcome for outcome in done if outcome.status == _OK]
    shed = [outcome for outcome in done if outcome.status in _SHED]
    unanswered = [outcome for outcome in outcomes if outcome.done_s is None]
    latencies_s = [_end(outcome) - outcome.due_s for outcome in ok]
    waits_s = latencies_s + [ended_s - outcome.due_s for outcome in unanswered]
    refusals_s = [_end(outcome) - (outcome.sent_s or outcome.due_s) for outcome in shed]
    in_window = [outcome for outcome in ok if _end(outcome) <= window_s]
    good = [outcome for outcome in in_window if _end(outcome) - outcome.due_s <= GOODPUT_LIMIT_S]
    return Figures(
        requests=len(outcomes),
        ok=len(ok),
        throughput_per_s=round(len(in_window) / window_s, 2),
        goodput_per_s=round(len(good) / window_s, 2),
        p50_ms=_ms(percentile(waits_s, 0.50)),
        p95_ms=_ms(percentile(waits_s, 0.95)),
        p99_ms=_ms(percentile(waits_s, 0.99)),
        shed=len(shed),
        errors=len(done) - len(ok) - len(shed),
        unanswered=len(unanswered),
        refusal_p99_ms=_ms(percentile(refusals_s, 0.99)),
        cached=sum(outcome.cached for outcome in ok),
    )


def _end(outcome: Outcome) -> float:
    assert outcome.done_s is not None
    return outcome.done_s


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1_000, 2)
