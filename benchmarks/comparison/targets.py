"""The promises of the project against a raw file, met or not. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.comparison.catalogue import by_name
from benchmarks.comparison.record import CACHED, Record
from benchmarks.comparison.summary import Line, line, open_lines
from benchmarks.comparison.turns import best_peer, of_bare, over_bare_ms, ratios, turns

OF_BARE = {
    ("minilm", "ours-split"): 0.80,
    ("minilm", "ours-fused"): 0.83,
    ("distilbert", "ours-split"): 0.90,
    ("distilbert", "ours-fused"): 0.93,
}
OVER_BARE_MS = {"ours-split": 2.0, "ours-fused": 1.5}
TIMES_BEST_PEER = 1.25
CACHED_PER_S = 8_000.0
OVERLOAD_SHARE, REFUSAL_MS = 0.90, 5.0


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
    judges = (_of_bare, _of_peers, _cached, _latency, _overload)
    return [target for judge in judges for target in judge(record, model)]


def _at_least(model: str, what: str, wanted: float, measured: float) -> Target:
    return Target(model, f"{what}, at least", wanted, round(measured, 3), measured >= wanted)


def _at_most(model: str, what: str, wanted: float, measured: float) -> Target:
    return Target(model, f"{what}, at most", wanted, round(measured, 3), measured <= wanted)


def _of_bare(record: Record, model: str) -> Iterator[Target]:
    for (of_model, peer), wanted in OF_BARE.items():
        if of_model != model:
            continue
        title = by_name(peer).title
        if shares := of_bare(record, model, peer, record.content["machine"]["cores"]):
            for by, share in zip(("rate", "CPU"), shares, strict=True):
                what = f"{title}: share of the bare engine by {by}"
                yield _at_least(model, what, wanted, share.median)
        if over := over_bare_ms(record, model, peer):
            what = f"{title}: ms over the bare engine, one connection"
            yield _at_most(model, what, OVER_BARE_MS[peer], over.median)


def _of_peers(record: Record, model: str) -> Iterator[Target]:
    found = turns(record, model)
    fastest = best_peer(found, lambda one: -one.full.throughput_per_s)
    quickest = best_peer(found, lambda one: one.half.figures["p99_ms"] or float("inf"))
    for ours in (one for one in found if one.peer.is_ours):
        name, title = ours.peer.name, ours.peer.title
        for peer, of, wanted in ((fastest, "texts/s", TIMES_BEST_PEER), (quickest, "p99", 1.0)):
            if peer is None:
                continue
            pair = ratios(record, model, name, peer.peer.name)
            what = f"{title}: {of} over that of {peer.peer.title}, its best setting"
            if of == "p99" and "p99, half load" in pair:
                yield _at_most(model, what, wanted, pair["p99, half load"].median)
            elif of in pair:
                yield _at_least(model, what, wanted, pair[of].median)


def _cached(record: Record, model: str) -> Iterator[Target]:
    for peer in ("ours-split", "ours-fused"):
        if one := line(record.rows(model=model, peer=peer, load=CACHED)):
            what = f"{one.title}: requests/s, all from the cache"
            yield _at_least(model, what, CACHED_PER_S, one.throughput_per_s)


def _latency(record: Record, model: str) -> Iterator[Target]:
    """Below saturation, p99 of ours at each rate against the best peer's at the same rate."""
    lines = open_lines(record, model)
    rivals = [rates for (peer, _), rates in lines.items() if not by_name(peer).is_ours]
    for (peer, deadline_ms), rates in lines.items():
        if not by_name(peer).is_ours or deadline_ms:
            continue
        for rate_per_s, one in rates:
            theirs = [_ms(other) for found in rivals for rate, other in found if rate == rate_per_s]
            if theirs and rate_per_s < rates[-1][0] / 3:
                what = f"{one.title}: p99 ms at {rate_per_s:.0f}/s, against the best peer's"
                yield _at_most(model, what, min(theirs), _ms(one))


def _ms(one: Line) -> float:
    return one.figures["p99_ms"] or float("inf")


def _overload(record: Record, model: str) -> Iterator[Target]:
    for (peer, deadline_ms), rates in open_lines(record, model).items():
        if not by_name(peer).is_ours or not deadline_ms:
            continue
        peak = max(one.figures["goodput_per_s"] or 0.0 for _, one in rates)
        for rate_per_s, one in rates:
            at = f"{one.title}, {deadline_ms} ms deadline sent, {rate_per_s:.0f}/s"
            share = (one.figures["goodput_per_s"] or 0.0) / peak if peak else 0.0
            yield _at_least(model, f"{at}: goodput over its best", OVERLOAD_SHARE, share)
            if (refusal_ms := one.figures["refusal_p99_ms"]) is not None:
                yield _at_most(model, f"{at}: ms to a refusal (p99)", REFUSAL_MS, refusal_ms)
