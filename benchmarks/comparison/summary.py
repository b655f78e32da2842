"""From the rows of a raw file to what tables and charts show: medians and ratios. Pure."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.comparison.catalogue import PEERS, Setting, by_name
from benchmarks.comparison.record import CLOSED, OPEN, Record
from benchmarks.comparison.scope import SATURATED
from benchmarks.comparison.steps import BEST, USUAL
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
    """One system at one setting under one load: medians over repeats, sums of counts.

    Attributes:
        peer: Name in the catalogue.
        role: See ``record.Case``.
        setting: As text; empty for ours.
        figures: Median of each figure; None where there is none.
        counts: Sum of each count.
        bare: Texts per second and milliseconds of the bare engine beside it; None if unknown.
        spread: Lowest and highest throughput of the repeats.
    """

    peer: str
    role: str
    setting: str
    figures: dict[str, float | None]
    counts: dict[str, int]
    spread: tuple[float, float]
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
    """The repeats of one case as one line; None for no rows."""
    rows = list(rows)
    if not rows:
        return None
    first = rows[0]
    paces = [row["throughput_per_s"] for row in rows]
    figures = {}
    for name in _FIGURES:
        values = [row[name] for row in rows if row[name] is not None]
        figures[name] = statistics.median(values) if values else None
    return Line(
        first["peer"],
        first["role"],
        "" if by_name(first["peer"]).is_ours else str(Setting(**first["setting"])),
        figures,
        {name: sum(row[name] for row in rows) for name in _COUNTS},
        (min(paces), max(paces)),
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


def over_bare_ms(record: Record, model: str, one: Line) -> float | None:
    """Median latency less that of the bare engine beside it, or the run's median."""
    p50_ms = one.figures["p50_ms"]
    bare_ms = one.bare[1] if one.bare else bare_p50_ms(record, model)
    return p50_ms - bare_ms if p50_ms is not None and bare_ms is not None else None


def closed_lines(
    record: Record, model: str, workload: str = REAL, concurrency: int = SATURATED
) -> list[Line]:
    """Every system's lines under a closed loop, fastest first."""
    found = []
    for peer in PEERS:
        for role in ("default", USUAL, BEST):
            wanted = {"model": model, "workload": workload, "peer": peer.name, "role": role}
            rows = record.rows(**wanted, load=CLOSED, concurrency=concurrency)
            if shown := line(rows):
                found.append(shown)
    return sorted(found, key=lambda one: -one.throughput_per_s)


def at_best(lines: Iterable[Line]) -> list[Line]:
    """Each system's fastest line alone."""
    best: dict[str, Line] = {}
    for one in lines:
        if one.peer not in best or one.throughput_per_s > best[one.peer].throughput_per_s:
            best[one.peer] = one
    return list(best.values())


def open_lines(record: Record, model: str) -> dict[tuple[str, int], list[tuple[float, Line]]]:
    """(peer, deadline sent) to (rate, line) in order of the rates."""
    found: dict[tuple[str, int], list[tuple[float, Line]]] = {}
    for row in sorted(record.rows(model=model, load=OPEN), key=lambda row: row["factor"]):
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
