"""Systems that took turns: the first tables of the report, and what targets are judged by. Pure.

A ratio is taken within each turn, between figures of the same minutes; of the turns' ratios
tables show the median and the lowest and highest.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.comparison.catalogue import PEERS, Peer, by_name
from benchmarks.comparison.record import CLOSED, OPEN, Record
from benchmarks.comparison.scope import SATURATED
from benchmarks.comparison.summary import Line, line

_SINGLE = {"load": CLOSED, "concurrency": 1}
_HALF = {"load": OPEN}
_FULL = {"load": CLOSED, "concurrency": SATURATED}
_CPU, _PACE = "server_cpu_s_per_1000", "throughput_per_s"


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the lowest and the highest."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Turns:
    """One system over all its turns: one connection, half load, 64 connections."""

    peer: Peer
    single: Line
    half: Line
    full: Line


def turns(record: Record, model: str) -> list[Turns]:
    """Every system that took turns, by its CPU time for a request at half load."""
    found = []
    for peer in PEERS:
        lines = [line(_rows(record, model, peer.name, load)) for load in (_SINGLE, _HALF, _FULL)]
        single, half, full = lines
        if single and half and full:
            found.append(Turns(peer, single, half, full))
    return sorted(found, key=lambda one: one.half.figures[_CPU] or 0.0)


def spread(one: Line, name: str) -> Spread | None:
    """Of a figure; None where there is none."""
    median = one.figures[name]
    return None if median is None else Spread(median, *one.spread[name])


def of_bare(record: Record, model: str, peer: str, cores: float) -> tuple[Spread, Spread] | None:
    """Share of the bare engine beside each turn, by rate and by CPU time of a request.

    The bare engine keeps all cores busy, so one of its texts takes ``cores / rate``.
    """
    by_rate, by_cpu = [], []
    for row in _rows(record, model, peer, _FULL):
        if "bare_per_s" in row and row[_CPU]:
            bare_per_s = statistics.mean(row["bare_per_s"])
            by_rate.append(row[_PACE] / bare_per_s)
            by_cpu.append(cores * 1_000 / bare_per_s / row[_CPU])
    return (_spread(by_rate), _spread(by_cpu)) if by_rate else None


def over_bare_ms(record: Record, model: str, peer: str) -> Spread | None:
    """Median latency of one connection less that of the bare engine beside it."""
    over = [
        row["p50_ms"] - statistics.mean(row["bare_p50_ms"])
        for row in _rows(record, model, peer, _SINGLE)
        if "bare_p50_ms" in row and row["p50_ms"] is not None
    ]
    return _spread(over) if over else None


def ratios(record: Record, model: str, ours: str, peer: str) -> dict[str, Spread]:
    """Of ours over a peer's, turn by turn: rate, CPU times and latencies, by name."""
    wanted: dict[str, tuple[dict[str, Any], str]] = {
        "texts/s": (_FULL, _PACE),
        "CPU": (_FULL, _CPU),
        "CPU, half load": (_HALF, _CPU),
        "p99, half load": (_HALF, "p99_ms"),
        "p50, one connection": (_SINGLE, "p50_ms"),
    }
    found = {}
    for name, (load, figure) in wanted.items():
        mine, theirs = (
            {row["turn"]: row[figure] for row in _rows(record, model, who, load)}
            for who in (ours, peer)
        )
        pairs = [mine[t] / theirs[t] for t in mine if mine[t] and theirs.get(t)]
        if pairs:
            found[name] = _spread(pairs)
    return found


def best_peer(found: list[Turns], key: Callable[[Turns], float]) -> Turns | None:
    """The peer that is lowest by ``key``; None where none took turns."""
    return min((one for one in found if not one.peer.is_ours), key=key, default=None)


def _rows(record: Record, model: str, peer: str, load: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in record.rows(model=model, peer=peer, **load) if row["turn"]]


def _spread(values: list[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def title(name: str) -> str:
    """In bold where it is ours."""
    peer = by_name(name)
    return f"**{peer.title}**" if peer.is_ours else peer.title
