"""From the rows of a raw file to what tables and charts show: lines and shares. Pure."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.comparison.catalogue import PEERS, Setting, by_name
from benchmarks.comparison.record import CLOSED, OPEN, Record
from benchmarks.comparison.workloads import REAL

_FIGURES = (
    "throughput_per_s",
    "goodput_per_s",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "refusal_p99_ms",
    "server_cpu_s_per_1000",
    "generator_cpu_s_per_1000",
    "rss_mb",
    "pss_mb",
    "boot_s",
)
_COUNTS = ("requests", "ok", "shed", "errors", "unanswered", "cached")


@dataclass(frozen=True, slots=True)
class Line:
    """One system under one load: medians over its turns, sums of counts.

    Attributes:
        peer: Name in the catalogue.
        setting: As text; empty for ours.
        figures: Median of each figure; None where there is none.
        spread: Lowest and highest of each figure.
        counts: Sum of each count.
        bare: Texts per second and milliseconds of the bare engine beside it; None if unknown.
    """

    peer: str
    setting: str
    figures: dict[str, float | None]
    spread: dict[str, tuple[float, float]]
    counts: dict[str, int]
    bare: tuple[float, float] | None = None

    @property
    def title(self) -> str:
        """Name in a table."""
        return by_name(self.peer).title

    @property
    def throughput_per_s(self) -> float:
        """Answers per second, always known."""
        return self.figures["throughput_per_s"] or 0.0


def line(rows: Iterable[dict[str, Any]]) -> Line | None:
    """The turns of one case as one line; None for no rows."""
    rows = list(rows)
    if not rows:
        return None
    first = rows[0]
    figures: dict[str, float | None] = {}
    spread = {}
    for name in _FIGURES:
        values = [row[name] for row in rows if row[name] is not None]
        figures[name] = statistics.median(values) if values else None
        if values:
            spread[name] = (min(values), max(values))
    return Line(
        first["peer"],
        "" if by_name(first["peer"]).is_ours else str(Setting(**first["setting"])),
        figures,
        spread,
        {name: sum(row[name] for row in rows) for name in _COUNTS},
        _bare_beside(rows),
    )


def _bare_beside(rows: Sequence[dict[str, Any]]) -> tuple[float, float] | None:
    known = [row for row in rows if "bare_per_s" in row]
    if not known:
        return None
    pace, latency_ms = (
        statistics.mean(value for row in known for value in row[name])
        for name in ("bare_per_s", "bare_p50_ms")
    )
    return pace, latency_ms


def share_of_bare(record: Record, model: str, one: Line) -> float | None:
    """Throughput over that of the bare engine beside it; over the run's mean where unknown."""
    ceiling = one.bare[0] if one.bare else max(bare_paces(record, model).values(), default=0.0)
    return one.throughput_per_s / ceiling if ceiling else None


def closed_lines(record: Record, model: str, workload: str = REAL) -> list[Line]:
    """Every system's line at 64 connections, measured once, fastest first."""
    found = []
    for peer in PEERS:
        wanted = {"model": model, "workload": workload, "peer": peer.name, "turn": 0}
        if shown := line(record.rows(**wanted, load=CLOSED)):
            found.append(shown)
    return sorted(found, key=lambda one: -one.throughput_per_s)


def open_lines(record: Record, model: str) -> dict[tuple[str, int], list[tuple[float, Line]]]:
    """(peer, deadline sent) to (rate, line) in order of the rates."""
    found: dict[tuple[str, int], list[tuple[float, Line]]] = {}
    for row in sorted(record.rows(model=model, load=OPEN, turn=0), key=lambda row: row["factor"]):
        if shown := line([row]):
            found.setdefault((row["peer"], row["deadline_ms"]), []).append(
                (row["rate_per_s"], shown)
            )
    return found


def bare_paces(record: Record, model: str) -> dict[str, float]:
    """Mean pace of each policy of the bare engine over the run."""
    runs = [run["texts_per_s"] for run in record.content["bare"] if run["model"] == model]
    policies = runs[0] if runs else {}
    return {policy: statistics.mean(run[policy] for run in runs) for policy in policies}


def bare_p50_ms(record: Record, model: str) -> float | None:
    """Median latency of the bare engine, one text at a time."""
    found = [run["p50_ms"] for run in record.content["bare"] if run["model"] == model]
    return statistics.median(found) if found else None
