"""A picture of each dashboard from what a real Prometheus stored: where no Grafana can run."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from monitoring.dashboards import BOARDS
from monitoring.panels import Board, Panel
from monitoring.promql import without_grafana
from tests.system.prometheus import Prometheus

_STEP_S = 5
_COLUMNS, _MOST_PANELS, _MOST_LINES = 3, 9, 8
_COLOURS = {"green": "#15803d", "orange": "#c2410c", "red": "#b91c1c", "blue": "#1d4ed8"}
_STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def draw(prometheus: Prometheus, folder: Path, start_s: float, end_s: float) -> list[Path]:
    """One PNG for each dashboard: its numbers, and its first panels as lines over the time."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_board(prometheus, board, folder, start_s, end_s) for board in BOARDS]


def shown(value: float, unit: str) -> str:
    """A value as a person reads it in Grafana."""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit in ("s", "ms"):
        in_ms = value * 1_000 if unit == "s" else value
        return f"{in_ms:.3g} ms" if in_ms < 1_000 else f"{in_ms / 1_000:.3g} s"
    suffix = {"bytes": "B", "reqps": "/s", "cps": "/s", "cpm": "/min"}.get(unit, "")
    for size, letter in _STEPS:
        if value >= size:
            return f"{value / size:.3g} {letter}{suffix}"
    return f"{value:.3g} {suffix}".strip()


def colour(panel: Panel, value: float) -> str:
    """Green, orange or red by the panel's limits; blue where it has none."""
    if not panel.limits:
        return _COLOURS["blue"]
    names = ["green", "orange", "red"] if len(panel.limits) == 2 else ["green", "red"]
    if panel.low_is_bad:
        names.reverse()
    return _COLOURS[names[sum(value >= limit for limit in panel.limits)]]


def _board(
    prometheus: Prometheus, board: Board, folder: Path, start_s: float, end_s: float
) -> Path:
    lines = [panel for panel in board.panels() if not panel.is_stat][:_MOST_PANELS]
    rows = -(-len(lines) // _COLUMNS)
    figure = plt.figure(figsize=(14, 1.3 + 2.9 * rows), layout="constrained")
    top, below = figure.subfigures(2, 1, height_ratios=[1.0, 2.9 * rows])
    span = f"{end_s - start_s:.0f}s"
    for panel, axes in zip(board.numbers, top.subplots(1, len(board.numbers)), strict=True):
        expression = without_grafana(panel.queries[0].expr, span=span)
        found = prometheus.over(expression, start_s, end_s, _STEP_S)
        _number(axes, panel, found)
    grid = below.subplots(rows, _COLUMNS, squeeze=False).flatten()
    for axes in grid[len(lines) :]:
        axes.axis("off")
    for panel, axes in zip(lines, grid, strict=False):
        _lines(prometheus, axes, panel, start_s, end_s)
    path = folder / f"dashboard-{board.name}.png"
    figure.savefig(path, dpi=80)
    plt.close(figure)
    return path


def _number(axes: Axes, panel: Panel, found: list[Any]) -> None:
    # The middle of the run: at its end there is no traffic any more.
    values = [float(v) for _, v in found[0]["values"] if v != "NaN"] if found else []
    value = values[len(values) // 2] if values else float("nan")
    axes.set_facecolor(colour(panel, value))
    axes.set_xticks([])
    axes.set_yticks([])
    text = shown(value, panel.unit) if values else "no data"
    style: dict[str, Any] = {"ha": "center", "va": "center", "color": "white", "weight": "bold"}
    axes.text(0.5, 0.5, text, fontsize=15, transform=axes.transAxes, **style)
    axes.set_title(panel.title, fontsize=8)


def _lines(prometheus: Prometheus, axes: Axes, panel: Panel, start_s: float, end_s: float) -> None:
    drawn: list[tuple[str, list[float], list[float]]] = []
    for query in panel.queries:
        for one in prometheus.over(without_grafana(query.expr), start_s, end_s, _STEP_S):
            name = query.legend
            for label, value in one["metric"].items():
                name = name.replace(f"{{{{{label}}}}}", value)
            points = [((at - start_s) / 60, float(v)) for at, v in one["values"] if v != "NaN"]
            if points and "{{" not in name:
                drawn.append((name[-28:], [x for x, _ in points], [y for _, y in points]))
    drawn.sort(key=lambda line: -max(line[2]))
    for name, xs, ys in drawn[:_MOST_LINES]:
        axes.plot(xs, ys, linewidth=1.1, label=name)
    for limit in panel.limits:
        axes.axhline(limit, color=_COLOURS["red"], linestyle="--", linewidth=0.8)
    axes.set_title(panel.title, fontsize=9)
    axes.set_xlim(0, (end_s - start_s) / 60)
    axes.set_ylim(bottom=0, top=panel.maximum)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, panel.unit)))
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    if any(name for name, _, _ in drawn):
        axes.legend(fontsize=6, loc="upper right")
