"""Planted traffic: blocks of texts as histograms, drawn without any text being made."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deployments.inference.signals import Histograms, signals_of

LABELS = ("negative", "positive")
BLOCK = 100


@dataclass(frozen=True)
class Traffic:
    """What texts are like.

    Attributes:
        positive: Share of the second label.
        length: Median tokens.
        sureness: Shape of the confidence; larger is surer.
        cyrillic: Share of texts in that script.
        repeated: Share that was answered a moment before.
    """

    positive: float = 0.5
    length: float = 24.0
    sureness: float = 6.0
    cyrillic: float = 0.01
    repeated: float = 0.02


def draw(rng: np.random.Generator, n: int, traffic: Traffic) -> Histograms:
    """The histograms of n texts that were seen."""
    repeats = int(rng.binomial(n, traffic.repeated))
    n -= repeats
    tokens = np.clip(rng.lognormal(np.log(traffic.length), 0.6, n), 3, 512).astype(int)
    drawn = {
        "label": rng.random(n) < traffic.positive,
        "confidence": 0.5 + rng.beta(traffic.sureness, 1.0, n) / 2,
        "length": tokens,
        "chars_per_token": rng.normal(4.6, 0.5, n),
        "truncated": tokens >= 512,
        "script": (rng.random(n) < traffic.cyrillic).astype(int),
    }
    counts: Histograms = {}
    for signal in signals_of(LABELS):
        if signal.name == "repeated":
            counts["repeated"] = [n, repeats]
            continue
        values = drawn[signal.name]
        kinds = bool(signal.kinds)
        bins = values.astype(int) if kinds else np.searchsorted(signal.edges, values, "right")
        counts[signal.name] = np.bincount(bins, minlength=signal.bins).tolist()
    return counts


def blocks(
    rng: np.random.Generator, texts: int, traffic: Traffic, sizes: tuple[int, ...] = (BLOCK,)
) -> Iterator[tuple[int, Histograms]]:
    """Blocks of at least ``texts`` texts, with the number of texts up to and with each."""
    total = turn = 0
    while total < texts:
        size = sizes[turn % len(sizes)]
        turn += 1
        total += size
        yield total, draw(rng, size, traffic)
