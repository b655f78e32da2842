"""A metric over a model's versions as a PNG. Imports matplotlib, a second, when first asked."""

import io
from collections.abc import Sequence

from registry.catalog.compare import Figure
from registry.records import ModelVersion

MAX_POINTS = 200


def plot_trend(name: str, metric: str, points: Sequence[tuple[ModelVersion, Figure]]) -> bytes:
    """A PNG of a mark per figure, a colour per dataset: version number across, figure up.

    Intervals are bars; the champion is marked. Nothing joins the marks: versions are no time.
    """
    # The object interface: pyplot keeps every figure and is not safe between threads.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    figure = Figure(figsize=(8, 4.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    lines: dict[str, list[tuple[int, float, float, float]]] = {}
    for version, measured in points[-MAX_POINTS:]:
        lines.setdefault(measured.dataset or "no dataset", []).append(
            (version.version, measured.value, *_errors(measured))
        )
        if "champion" in version.aliases:
            axes.axvline(version.version, color="0.8", linestyle="--", zorder=0)
    for dataset, values in sorted(lines.items()):
        across, up, below, above = zip(*values, strict=True)
        axes.errorbar(across, up, yerr=(below, above), fmt="o", capsize=3, label=_literal(dataset))
    axes.set_title(_literal(f"{name}: {metric}"))
    axes.set_xlabel("version (dashed: champion)")
    axes.set_ylabel(_literal(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if lines:
        axes.legend()
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()


def _errors(figure: Figure) -> tuple[float, float]:
    """How far the interval goes below and above the figure; nothing without one."""
    if figure.interval is None:
        return 0.0, 0.0
    return figure.value - figure.interval[0], figure.interval[1] - figure.value


def _literal(text: str) -> str:
    """Text that matplotlib does not read as a formula."""
    return text[:80].replace("$", r"\$")
