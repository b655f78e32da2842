"""The picture of ``autoscaling_simulation``: traffic, replicas and waits over the day."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt


def plot(timelines: dict[str, list[tuple[float, float, int, float]]], folder: Path) -> None:
    """Replicas over the day for each policy, above the traffic."""
    figure, axes = plt.subplots(3, 1, figsize=(10, 8), sharex=True)
    for name, timeline in timelines.items():
        hours, traffic, replicas, waits = zip(*timeline, strict=True)
        axes[1].plot(hours, replicas, label=name, linewidth=1)
        axes[2].plot(hours, waits, label=name, linewidth=0.7)
    axes[0].plot(hours, traffic, color="black", linewidth=0.7)
    for axis, title in zip(axes, ("texts/s", "replicas", "predicted wait, ms"), strict=True):
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
    axes[2].set_yscale("symlog")
    axes[1].legend(fontsize=8)
    axes[2].set_xlabel("hours")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "autoscaling.png", dpi=90, bbox_inches="tight")
