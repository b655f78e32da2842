"""The PNG charts of a raw file: throughput as bars, goodput and latency over the offered rate."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.comparison.catalogue import by_name
from benchmarks.comparison.record import Record
from benchmarks.comparison.summary import bare_paces, closed_lines, open_lines
from benchmarks.comparison.table import MODEL_TITLES

_OURS, _PEER, _CEILING = "#c2410c", "#475569", "#111827"
_DPI = 150


def write_charts(record: Record, stem: Path) -> list[Path]:
    """Writes the charts of each model beside ``stem``; returns their paths."""
    written = []
    for model in record.content["models"]:
        if closed_lines(record, model):
            written.append(_throughput(record, model, stem))
        if open_lines(record, model):
            written.append(_over_rate(record, model, stem))
    return written


def _throughput(record: Record, model: str, stem: Path) -> Path:
    best = sorted(closed_lines(record, model), key=lambda one: one.throughput_per_s)
    figure, axes = plt.subplots(figsize=(8, 0.5 * len(best) + 1.6), layout="constrained")
    places = range(len(best))
    colours = [_OURS if by_name(one.peer).is_ours else _PEER for one in best]
    bars = axes.barh(places, [one.throughput_per_s for one in best], 0.7, color=colours)
    axes.bar_label(bars, fmt="%.0f", padding=3)
    ceiling = max(bare_paces(record, model).values(), default=0.0)
    axes.axvline(ceiling, color=_CEILING, linestyle="--", label="bare engine, no server")
    axes.set_yticks(places, [one.title for one in best])
    axes.set_xlabel("texts per second, 64 connections, each system at its best setting")
    axes.set_title(f"{MODEL_TITLES[model]}: {_where(record)}", fontsize=10)
    axes.legend(loc="lower right", fontsize=8)
    return _saved(figure, stem, f"{model}-throughput")


def _over_rate(record: Record, model: str, stem: Path) -> Path:
    figure, (good, slow) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for (peer, deadline_ms), rates in open_lines(record, model).items():
        label = by_name(peer).title + (f", {deadline_ms} ms deadline" if deadline_ms else "")
        style = {"linewidth": 2.2} if by_name(peer).is_ours else {"linestyle": "--"}
        offered = [rate for rate, _ in rates]
        for axes, name in ((good, "goodput_per_s"), (slow, "p99_ms")):
            values = [one.figures[name] or float("nan") for _, one in rates]
            axes.plot(offered, values, marker="o", label=label, **style)
    _axis(good, "answered within 100 ms, per second")
    _axis(slow, "p99 of answers from the intended start, ms")
    slow.set_yscale("log")
    good.legend(fontsize=8)
    figure.suptitle(f"{MODEL_TITLES[model]}: {_where(record)}", fontsize=10)
    return _saved(figure, stem, f"{model}-open-loop")


def _axis(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("offered requests per second")
    axes.set_ylim(bottom=0 if axes.get_yscale() == "linear" else None)
    axes.grid(alpha=0.3)


def _where(record: Record) -> str:
    machine = record.content["machine"]
    return f"{machine['cores']:g} cores of {machine['processor']}, {record.content['date'][:10]}"


def _saved(figure: Figure, stem: Path, name: str) -> Path:
    path = stem.with_name(f"{stem.name}-{name}.png")
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)
    return path
