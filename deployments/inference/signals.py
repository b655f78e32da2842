"""What is counted of an answered text, as histograms. Pure.

Every signal has the same fixed bins in all replicas, whatever the reference is that they are
compared with later, so histograms of any replicas and times add up. No text leaves a replica.
The Insight deployment compares them (``deployments/insight/``).
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from operator import ge

from deployments.predictions import Prediction
from registry.records import Head

Histogram = list[int]
Histograms = dict[str, Histogram]
"""By signal: counts by bin."""

MAX_LABELS = 20
# Characters of a text that are looked at for its script.
_SCRIPT_CHARS = 64
_LETTER = re.compile(r"[A-Za-z]")
# First code points of ranges, and what stands there; no full Unicode table.
_RANGES: tuple[tuple[int, str], ...] = (
    (0x0000, "latin"),
    (0x0370, "other"),
    (0x0400, "cyrillic"),
    (0x0530, "other"),
    (0x0600, "arabic"),
    (0x0780, "other"),
    (0x0900, "indic"),
    (0x0E00, "other"),
    (0x1E00, "latin"),
    (0x1F00, "other"),
    (0x3040, "east_asian"),
    (0xD7B0, "other"),
    (0xF900, "east_asian"),
    (0xFB00, "other"),
    (0x20000, "east_asian"),
    (0x32000, "other"),
)
_STARTS = tuple(start for start, _ in _RANGES)
SCRIPTS = ("latin", "cyrillic", "arabic", "indic", "east_asian", "other", "none")
_SCRIPT_OF_RANGE = tuple(SCRIPTS.index(name) for _, name in _RANGES)


def _steps(first: float, ratio: float, last: float) -> tuple[float, ...]:
    edges = [first]
    while edges[-1] < last:
        edges.append(edges[-1] * ratio)
    return tuple(edges)


@dataclass(frozen=True, slots=True)
class Signal:
    """One number or kind of each text.

    Attributes:
        name: In answers, metrics and tables.
        kinds: Names of the bins where each is a kind, as labels; empty where bins are ordered.
        edges: Ordered bins: upper ends of all but the last, which is open as the first is.
        of_answer: Whether it tells of the model's answer; the others tell of the text.
    """

    name: str
    kinds: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    of_answer: bool = False

    @property
    def bins(self) -> int:
        """How many bins."""
        return len(self.kinds) or len(self.edges) + 1


# One bin for each of the short lengths, then bins a tenth wide.
_TOKENS = (*map(float, range(1, 17)), *_steps(17.6, 1.1, 8_192))
_CHARS_PER_TOKEN = _steps(0.5, 1.08, 24)
# Probabilities near 1 are what most texts have, so bins narrow towards it: a fifth less doubt each.
_CONFIDENCE = tuple(1.0 - 0.8**step for step in range(1, 42))
_NO_YES = ("no", "yes")
_NONE = "(none)"

TEXT_SIGNALS = (
    Signal("length", edges=_TOKENS),
    Signal("chars_per_token", edges=_CHARS_PER_TOKEN),
    Signal("truncated", kinds=_NO_YES),
    Signal("script", kinds=SCRIPTS),
    Signal("repeated", kinds=_NO_YES),
)


@cache
def signals_of(labels: tuple[str, ...]) -> tuple[Signal, ...]:
    """All signals of a model with these labels; labels beyond ``MAX_LABELS`` are one kind."""
    kinds = labels if len(labels) <= MAX_LABELS else (*labels[: MAX_LABELS - 1], "(others)")
    return (
        Signal("label", kinds=kinds, of_answer=True),
        Signal("confidence", edges=_CONFIDENCE, of_answer=True),
        *TEXT_SIGNALS,
    )


def kinds_of(labels: tuple[str, ...], head: Head) -> tuple[str, ...]:
    """What the signal ``label`` counts: of a multi-label model also that none applies."""
    return (_NONE, *labels) if head.task == "multi_label" else labels


def empty(labels: Sequence[str]) -> Histograms:
    """Histograms without counts."""
    return {signal.name: [0] * signal.bins for signal in signals_of(tuple(labels))}


def add(to: Histograms, counts: Histograms) -> None:
    """Adds counts of the same model."""
    for name, row in counts.items():
        to[name] = [a + b for a, b in zip(to[name], row, strict=True)]


def count(
    into: Histograms,
    text: str,
    prediction: Prediction,
    head: Head = Head(),  # noqa: B008  (frozen)
    *,
    repeated: bool,
) -> None:
    """Counts one answered text: the label of the highest score and that score. A value of a
    regression takes its place between 0 and 1, in order.

    A text that was answered a moment before counts as repeated and for nothing else: one client
    that sends the same text all day is no change of what the others send.
    """
    into["repeated"][repeated] += 1
    if repeated:
        return
    scores = prediction.scores.tolist()
    confidence = max(scores)
    labels, kind = into["label"], scores.index(confidence)
    if head.task == "multi_label":
        # The first kind is that none applies.
        applies = any(map(ge, scores, head.thresholds))
        kind = kind + 1 if applies else 0
    elif head.activation == "none":
        confidence = 0.5 + 0.5 * confidence / (1 + abs(confidence))
    labels[min(kind, len(labels) - 1)] += 1
    into["confidence"][bisect_right(_CONFIDENCE, confidence)] += 1
    into["truncated"][prediction.truncated] += 1
    into["length"][bisect_right(_TOKENS, prediction.n_tokens)] += 1
    if not prediction.truncated:
        density = len(text) / max(1, prediction.n_tokens)
        into["chars_per_token"][bisect_right(_CHARS_PER_TOKEN, density)] += 1
    into["script"][_script(text)] += 1


def seen(counts: Histograms) -> int:
    """Texts that were answered, repeated ones included."""
    return sum(counts["repeated"])


def _script(text: str) -> int:
    """The position in ``SCRIPTS`` of what most of the first letters are written in."""
    if text.isascii():
        return 0 if _LETTER.search(text) else len(SCRIPTS) - 1
    found = [0] * len(SCRIPTS)
    for char in text[:_SCRIPT_CHARS]:
        if char.isalpha():
            found[_SCRIPT_OF_RANGE[bisect_right(_STARTS, ord(char)) - 1]] += 1
    most = max(found)
    return found.index(most) if most else len(SCRIPTS) - 1
