"""The texts that benchmarks send: real sentences (ICWSM-14), each different, in a fixed order."""

from pathlib import Path

import numpy as np

from benchmarks.harness.machine import ROOT
from pipelines.data.icwsm import read_icwsm

CACHE = ROOT / ".sentigraph" / "cache"
_SEED = 7


def real_texts(count: int, cache: Path = CACHE) -> list[str]:
    """At most ``count`` distinct sentences, shuffled by a fixed seed."""
    rows = [row.text.strip() for row in read_icwsm(cache) if row.label is not None]
    texts = list(dict.fromkeys(text for text in rows if text))
    order = np.random.default_rng(_SEED).permutation(len(texts))
    return [texts[i] for i in order[:count]]


def numbered_texts(count: int) -> list[str]:
    """``count`` sentences, over and over where there are not enough; each with its number."""
    real = real_texts(min(count, 23_000))
    return [f"{real[i % len(real)]} {i}" for i in range(count)]
