"""The Markdown report of a raw file. Pure."""

from collections.abc import Iterable, Sequence

from benchmarks.comparison.catalogue import PEERS, Setting, by_name
from benchmarks.comparison.record import CACHED, Record
from benchmarks.comparison.steps import DEFAULT
from benchmarks.comparison.summary import (
    Line,
    bare_p50_ms,
    bare_paces,
    closed_lines,
    line,
    open_lines,
    over_bare_ms,
    share_of_bare,
)
from benchmarks.comparison.targets import targets
from benchmarks.comparison.workloads import REAL, WORKLOADS

MODEL_TITLES = {"minilm": "MiniLM, INT8", "distilbert": "DistilBERT-shaped, INT8"}
_ROLES = {"default": "as it is", "usual": "usual", "best": "its best"}


def markdown(record: Record) -> str:
    """The whole report."""
    parts = [_head(record)]
    for model in record.content["models"]:
        parts.append(f"## {MODEL_TITLES[model]}")
        parts += [
            part
            for part in (
                _saturated(record, model),
                _single(record, model),
                _workloads(record, model),
                _open(record, model),
                _cached(record, model),
                _targets(record, model),
                _grids(record, model),
            )
            if part
        ]
    parts += [part for part in (_failures(record), _peers(record)) if part]
    return "\n\n".join(parts) + "\n"


def rows_to_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; None is shown as an empty cell, a float as a person would write it."""
    rows = list(rows)
    numbers = [any(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]
    lines = [header, ["---:" if number else "---" for number in numbers], *rows]
    return "\n".join(f"| {' | '.join(map(cell, row))} |" for row in lines)


def cell(value: object) -> str:
    """One cell: three digits that matter."""
    if value is None:
        return ""
    if isinstance(value, float):
        if abs(value) >= 100:
            return f"{value:,.0f}"
        return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def _head(record: Record) -> str:
    content = record.content
    machine = content["machine"]
    flags = ", ".join(machine["flags"]) or "none of note"
    resumed = "".join(f"; gone on with by `{command}`" for command in content.get("resumed", []))
    return (
        f"# Benchmark of {content['date'][:10]}\n\n"
        f"`{content['command']}` on {machine['processor']}, {machine['cores']:g} cores ({flags}), "
        f"{machine['memory_gb']:g} GB, kernel {machine['kernel']}; load average at start "
        f"{content['load_average_at_start']:g}; commit `{content['commit'][:12]}`{resumed}. The "
        "load generator ran on the same cores. Method and limits: "
        "[docs/guides/benchmarks.md](../../docs/guides/benchmarks.md)."
    )


def _saturated(record: Record, model: str) -> str:
    paces = bare_paces(record, model)
    ceiling = max(paces.values(), default=0.0)
    rows: list[list[object]] = [
        [f"*bare engine, {policy}*", "", pace, pace / ceiling, *[None] * 8]
        for policy, pace in paces.items()
    ]
    for one in closed_lines(record, model):
        rows.append(
            [
                f"**{one.title}**" if by_name(one.peer).is_ours else one.title,
                _setting(one),
                _pace(one),
                share_of_bare(record, model, one),
                *[one.figures[name] for name in ("p50_ms", "p95_ms", "p99_ms", "goodput_per_s")],
                *[one.figures[name] for name in ("server_cpu_s_per_1000", "rss_mb", "boot_s")],
                _trouble(one),
            ]
        )
    if len(rows) == len(paces):
        return ""
    header = ["", "setting", "texts/s", "of bare", "p50 ms", "p95 ms", "p99 ms", "under 100 ms, /s"]
    header += ["CPU s per 1,000", "RSS MB", "boot s", "failed"]
    return "### Saturated: 64 connections, real texts, each once\n\n" + rows_to_table(header, rows)


def _single(record: Record, model: str) -> str:
    lines = closed_lines(record, model, concurrency=1)
    bare_ms = bare_p50_ms(record, model)
    if not lines:
        return ""
    rows: list[list[object]] = [["*bare engine, one by one*", "", bare_ms, None, None]]
    for one in sorted(lines, key=lambda one: one.figures["p50_ms"] or 0.0):
        p50_ms, p99_ms = one.figures["p50_ms"], one.figures["p99_ms"]
        rows.append([one.title, _setting(one), p50_ms, over_bare_ms(record, model, one), p99_ms])
    header = ["", "setting", "p50 ms", "over bare", "p99 ms"]
    return "### One connection\n\n" + rows_to_table(header, rows)


def _workloads(record: Record, model: str) -> str:
    columns = [name for name in WORKLOADS if closed_lines(record, model, name)]
    if columns in ([], [REAL]):
        return ""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for name in columns:
        for one in closed_lines(record, model, name):
            share = one.counts["cached"] / max(1, one.counts["ok"])
            note = f" ({share:.0%} cached)" if share >= 0.005 else ""
            cells.setdefault((one.title, one.role), {})[name] = _pace(one) + note
    rows = [
        [title, _ROLES[role], *(found.get(name) for name in columns)]
        for (title, role), found in cells.items()
    ]
    header = ["texts/s at 64 connections", "setting", *columns]
    return "### Kinds of texts\n\n" + rows_to_table(header, rows)


def _open(record: Record, model: str) -> str:
    rows: list[list[object]] = []
    for (peer, deadline_ms), rates in open_lines(record, model).items():
        title = by_name(peer).title + (f", {deadline_ms} ms deadline sent" if deadline_ms else "")
        for rate_per_s, one in rates:
            names = ("throughput_per_s", "goodput_per_s", "p50_ms", "p99_ms")
            figures = [one.figures[name] for name in names]
            counts = [one.counts[name] for name in ("shed", "errors", "unanswered")]
            rows.append([title, rate_per_s, *figures, *counts, one.figures["refusal_p99_ms"]])
    if not rows:
        return ""
    header = ["", "offered/s", "answered/s", "under 100 ms, /s", "p50 ms", "p99 ms"]
    header += ["shed", "errors", "unanswered", "ms to refusal, p99"]
    return (
        "### Open loop: Poisson arrivals at fixed rates, latency from the intended start\n\n"
        + rows_to_table(header, rows)
    )


def _cached(record: Record, model: str) -> str:
    rows = []
    for peer in PEERS:
        if one := line(record.rows(model=model, peer=peer.name, role=DEFAULT, load=CACHED)):
            share = f"{one.counts['cached'] / max(1, one.counts['ok']):.1%}"
            rows.append([one.title, one.throughput_per_s, one.figures["p99_ms"], share])
    if not rows:
        return ""
    return "### All answers from the cache\n\n" + rows_to_table(
        ["", "requests/s", "p99 ms", "cached"], rows
    )


def _targets(record: Record, model: str) -> str:
    rows = [
        [target.what, target.wanted, target.measured, "yes" if target.met else "**no**"]
        for target in targets(record, model)
    ]
    if not rows:
        return ""
    return "### Targets\n\n" + rows_to_table(["", "wanted", "measured", "met"], rows)


def _grids(record: Record, model: str) -> str:
    rows: list[list[object]] = []
    for grid in record.content["grids"]:
        if grid["model"] == model:
            winner = Setting(**grid["winner"])
            for tried in grid["tried"]:
                setting = Setting(**tried["setting"])
                mark = "best" if setting == winner else ""
                title = by_name(grid["peer"]).title
                rows.append([title, setting, tried["texts_per_s"], tried["reason"] or mark])
    if not rows:
        return ""
    return "### Settings that were tried\n\n" + rows_to_table(["", "setting", "texts/s", ""], rows)


def _failures(record: Record) -> str:
    rows = [[note["step"], note["reason"]] for note in record.content["failures"]]
    return "## Not measured\n\n" + rows_to_table(["step", "reason"], rows) if rows else ""


def _peers(record: Record) -> str:
    seen = {row["peer"] for row in record.content["rows"]}
    versions = record.content["versions"]

    def ours(name: str) -> str:
        return ", ".join(commit[:12] for commit in record.commits(name))

    rows = [
        [peer.title, versions.get(f"peer {peer.name}", ours(peer.name)), peer.note]
        for peer in PEERS
        if peer.name in seen
    ]
    return "## Who was measured, and how\n\n" + rows_to_table(["", "version", "how"], rows)


def _setting(one: Line) -> str:
    role = _ROLES[one.role]
    return f"{role}: {one.setting}" if one.setting else role


def _pace(one: Line) -> str:
    low, high = one.spread
    return cell(one.throughput_per_s) + (f" ({cell(low)} to {cell(high)})" if low != high else "")


def _trouble(one: Line) -> str:
    names = ("shed", "errors", "unanswered")
    return ", ".join(f"{one.counts[name]} {name}" for name in names if one.counts[name]) or "0"
