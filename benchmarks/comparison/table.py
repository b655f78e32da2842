"""The Markdown report of a raw file. Pure."""

from collections.abc import Iterable, Sequence

from benchmarks.comparison.catalogue import PEERS, Setting, by_name
from benchmarks.comparison.record import CACHED, Record
from benchmarks.comparison.summary import (
    Line,
    bare_p50_ms,
    bare_paces,
    closed_lines,
    line,
    open_lines,
    share_of_bare,
)
from benchmarks.comparison.targets import targets
from benchmarks.comparison.turns import Spread, of_bare, ratios, spread, title, turns
from benchmarks.comparison.workloads import REAL, WORKLOADS

MODEL_TITLES = {"minilm": "MiniLM, INT8", "distilbert": "DistilBERT-shaped, INT8"}


def markdown(record: Record) -> str:
    """The whole report."""
    parts = [_head(record)]
    for model in record.content["models"]:
        parts.append(f"## {MODEL_TITLES[model]}")
        parts += [
            part
            for part in (
                _in_turn(record, model),
                _pairs(record, model),
                _saturated(record, model),
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
    if isinstance(value, Spread):
        return f"{cell(value.median)} ({cell(value.low)} to {cell(value.high)})"
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


def _in_turn(record: Record, model: str) -> str:
    found, cores = turns(record, model), record.content["machine"]["cores"]
    if not found:
        return ""
    pace = max(bare_paces(record, model).values())
    bare_cpu_ms = cores * 1_000 / pace
    rows: list[list[object]] = [
        ["*bare engine*", "", None, bare_cpu_ms, bare_p50_ms(record, model), *[None] * 3, pace, 1.0]
    ]
    for one in found:
        shares = of_bare(record, model, one.peer.name, cores)
        rows.append(
            [
                title(one.peer.name),
                _setting(one.full),
                spread(one.half, "server_cpu_s_per_1000"),
                spread(one.full, "server_cpu_s_per_1000"),
                spread(one.single, "p50_ms"),
                spread(one.single, "p99_ms"),
                spread(one.half, "p50_ms"),
                spread(one.half, "p99_ms"),
                spread(one.full, "throughput_per_s"),
                shares and shares[1],
            ]
        )
    header = ["", "setting", "CPU ms a text, half load", "at 64 connections"]
    header += ["one connection, p50 ms", "p99", "half load, p50 ms", "p99"]
    header += ["texts/s at 64", "of bare by CPU"]
    count = max(row["turn"] for row in record.rows(model=model))
    return (
        f"### In turn: median (lowest to highest) of {count} turns\n\nHalf load: half of the bare "
        "engine's pace, as Poisson arrivals. Each peer at the best setting that was found.\n\n"
        + rows_to_table(header, rows)
    )


def _pairs(record: Record, model: str) -> str:
    found = turns(record, model)
    rows: list[list[object]] = []
    names: list[str] = []
    for ours in (one for one in found if one.peer.is_ours):
        for peer in (one for one in found if not one.peer.is_ours):
            of_pair = ratios(record, model, ours.peer.name, peer.peer.name)
            names = list(of_pair)
            rows.append([f"{ours.peer.title} / {peer.peer.title}", *of_pair.values()])
    if not rows:
        return ""
    return "### Ours over a peer, within each turn\n\n" + rows_to_table(["", *names], rows)


def _saturated(record: Record, model: str) -> str:
    paces = bare_paces(record, model)
    ceiling = max(paces.values(), default=0.0)
    rows: list[list[object]] = [
        [f"*bare engine, {policy}*", "", None, pace, pace / ceiling, *[None] * 7]
        for policy, pace in paces.items()
    ]
    for one in closed_lines(record, model):
        names = ("p50_ms", "p95_ms", "p99_ms", "goodput_per_s", "pss_mb", "boot_s")
        rows.append(
            [
                title(one.peer),
                _setting(one),
                one.figures["server_cpu_s_per_1000"],
                one.throughput_per_s,
                share_of_bare(record, model, one),
                *[one.figures[name] for name in names],
                _trouble(one),
            ]
        )
    if len(rows) == len(paces):
        return ""
    header = ["", "setting", "CPU ms a text", "texts/s", "of bare", "p50 ms", "p95 ms", "p99 ms"]
    header += ["under 100 ms, /s", "PSS MB", "boot s", "failed"]
    return "### Everyone once: 64 connections, real texts\n\n" + rows_to_table(header, rows)


def _workloads(record: Record, model: str) -> str:
    columns = [name for name in WORKLOADS if closed_lines(record, model, name)]
    if columns in ([], [REAL]):
        return ""
    cells: dict[str, dict[str, str]] = {}
    for name in columns:
        for one in closed_lines(record, model, name):
            share = one.counts["cached"] / max(1, one.counts["ok"])
            note = f" ({share:.0%} cached)" if share >= 0.005 else ""
            cells.setdefault(one.title, {})[name] = cell(one.throughput_per_s) + note
    rows = [[who, *(found.get(name) for name in columns)] for who, found in cells.items()]
    return "### Kinds of texts\n\n" + rows_to_table(["texts/s at 64 connections", *columns], rows)


def _open(record: Record, model: str) -> str:
    rows: list[list[object]] = []
    for (peer, deadline_ms), rates in open_lines(record, model).items():
        who = by_name(peer).title + (f", {deadline_ms} ms deadline sent" if deadline_ms else "")
        for rate_per_s, one in rates:
            names = ["server_cpu_s_per_1000", "throughput_per_s", "goodput_per_s"]
            names += ["p50_ms", "p99_ms"]
            figures = [one.figures[name] for name in names]
            counts = [one.counts[name] for name in ("shed", "errors", "unanswered")]
            rows.append([who, rate_per_s, *figures, *counts, one.figures["refusal_p99_ms"]])
    if not rows:
        return ""
    header = [
        "",
        "offered/s",
        "CPU ms a text",
        "answered/s",
        "under 100 ms, /s",
        "p50 ms",
        "p99 ms",
    ]
    header += ["shed", "errors", "unanswered", "ms to refusal, p99"]
    return (
        "### Open loop: Poisson arrivals at fixed rates, latency from the intended start\n\n"
        + rows_to_table(header, rows)
    )


def _cached(record: Record, model: str) -> str:
    rows = []
    for peer in PEERS:
        if one := line(record.rows(model=model, peer=peer.name, load=CACHED)):
            share = f"{one.counts['cached'] / max(1, one.counts['ok']):.1%}"
            cpu_ms = one.figures["server_cpu_s_per_1000"]
            rows.append([one.title, cpu_ms, one.throughput_per_s, one.figures["p99_ms"], share])
    if not rows:
        return ""
    return "### All answers from the cache\n\n" + rows_to_table(
        ["", "CPU ms a request", "requests/s", "p99 ms", "cached"], rows
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
                who = by_name(grid["peer"]).title
                rows.append([who, setting, tried["texts_per_s"], tried["reason"] or mark])
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
    return one.setting or "as it is"


def _trouble(one: Line) -> str:
    names = ("shed", "errors", "unanswered")
    return ", ".join(f"{one.counts[name]} {name}" for name in names if one.counts[name]) or "0"
