"""The promises of the project against a raw file, met or not. Pure."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.comparison.catalogue import by_name
from benchmarks.comparison.record import CACHED, Record
from benchmarks.comparison.steps import DEFAULT, USUAL
from benchmarks.comparison.summary import (
    Line,
    closed_lines,
    line,
    open_lines,
    over_bare_ms,
    share_of_bare,
)

OF_BARE = {
    ("minilm", "ours-split"): 0.80,
    ("minilm", "ours-fused"): 0.85,
    ("distilbert", "ours-split"): 0.92,
    ("distilbert", "ours-fused"): 0.95,
}
OVER_BARE_MS = {"ours-split": 6.0, "ours-fused": 3.0}
TIMES_BEST_PEER, TIMES_MEDIAN_PEER = 1.3, 2.0
CACHED_PER_S = 1_500.0
OVERLOAD_FACTOR, OVERLOAD_SHARE, REFUSAL_MS = 2.0, 0.90, 20.0


@dataclass(frozen=True, slots=True)
class Target:
    """A promise and what was measured; ``met`` is measured against ``wanted`` as ``what`` says."""

    model: str
    what: str
    wanted: float
    measured: float
    met: bool


def targets(record: Record, model: str) -> list[Target]:
    """The promises that this raw file can judge."""
    return [
        *_of_bare(record, model),
        *_of_peers(record, model),
        *_single(record, model),
        *_cached(record, model),
        *_overload(record, model),
    ]


def _at_least(model: str, what: str, wanted: float, measured: float) -> Target:
    return Target(model, f"{what}, at least", wanted, round(measured, 3), measured >= wanted)


def _at_most(model: str, what: str, wanted: float, measured: float) -> Target:
    return Target(model, f"{what}, at most", wanted, round(measured, 3), measured <= wanted)


def _ours(lines: list[Line]) -> list[Line]:
    return [one for one in lines if by_name(one.peer).is_ours]


def _peers(lines: list[Line]) -> list[Line]:
    return [one for one in lines if not by_name(one.peer).is_ours]


def _of_bare(record: Record, model: str) -> Iterator[Target]:
    for one in _ours(closed_lines(record, model)):
        wanted, share = OF_BARE.get((model, one.peer)), share_of_bare(record, model, one)
        if wanted and share is not None:
            yield _at_least(model, f"{one.title}: share of the bare engine", wanted, share)


def _of_peers(record: Record, model: str) -> Iterator[Target]:
    lines = closed_lines(record, model)
    # As shares of the bare engine beside each: peers are measured minutes apart.
    shares = {id(one): share_of_bare(record, model, one) or 0.0 for one in lines}
    ours = max((shares[id(one)] for one in _ours(lines)), default=0.0)
    best = max((shares[id(one)] for one in _peers(lines)), default=0.0)
    usual = [shares[id(one)] for one in _peers(lines) if one.role == USUAL]
    if ours and best:
        yield _at_least(model, "times the best peer at its best", TIMES_BEST_PEER, ours / best)
    if ours and usual:
        times = ours / statistics.median(usual)
        yield _at_least(model, "times the median peer at 32 / 5 ms", TIMES_MEDIAN_PEER, times)


def _single(record: Record, model: str) -> Iterator[Target]:
    for one in _ours(closed_lines(record, model, concurrency=1)):
        if (over_ms := over_bare_ms(record, model, one)) is not None:
            what = f"{one.title}: ms over the bare engine at concurrency 1"
            yield _at_most(model, what, OVER_BARE_MS[one.peer], over_ms)


def _cached(record: Record, model: str) -> Iterator[Target]:
    for peer in ("ours-split", "ours-fused"):
        rows = record.rows(model=model, peer=peer, role=DEFAULT, load=CACHED)
        if one := line(rows):
            what = f"{one.title}: requests/s, all from the cache"
            yield _at_least(model, what, CACHED_PER_S, one.throughput_per_s)


def _overload(record: Record, model: str) -> Iterator[Target]:
    capacity = record.capacity(model, "real") or 0.0
    for (peer, deadline_ms), rates in open_lines(record, model).items():
        if not by_name(peer).is_ours:
            continue
        deadline = f", {deadline_ms} ms deadline sent" if deadline_ms else ""
        peak = max(one.figures["goodput_per_s"] or 0.0 for _, one in rates)
        for rate_per_s, one in rates:
            if abs(rate_per_s - OVERLOAD_FACTOR * capacity) > 0.01 * capacity:
                continue
            if peak:
                share = (one.figures["goodput_per_s"] or 0.0) / peak
                what = f"{one.title}{deadline}: goodput at twice the capacity over its peak"
                yield _at_least(model, what, OVERLOAD_SHARE, share)
            if (refusal_ms := one.figures["refusal_p99_ms"]) is not None:
                what = f"{one.title}{deadline}: ms to a refusal (p99) at twice the capacity"
                yield _at_most(model, what, REFUSAL_MS, refusal_ms)
