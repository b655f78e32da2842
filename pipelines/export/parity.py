"""Judges whether a converted model still says what its source said.

Comes after every conversion in `export` and `import`: FP32 ONNX against torch by the largest
difference of logits, INT8 against FP32 by the share of texts with the same label. A conversion that
fails is refused and nothing is written for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.model.runner import scores_of
from pipelines.errors import ParityError, QuantisationError
from registry.records import Head, Task

FloatArray = npt.NDArray[np.float32]

LOGIT_TOLERANCE = 1e-4
MIN_AGREEMENT = 0.97
# Odd texts are few, and a model may be undecided on them.
MAX_ODD_SHIFT = 0.2
# Values of a regression have no threshold: two that are less apart are the same.
MAX_VALUE_SHIFT = 0.1
USUAL = Head()
_KEPT: dict[Task, str] = {
    "single_label": "the label of {share} of {texts} texts",
    "multi_label": "{share} of the labels of {texts} texts",
    "regression": "{share} of the values of {texts} texts",
}


@dataclass(frozen=True, slots=True)
class Agreement:
    """INT8 against FP32 on the same texts.

    Attributes:
        texts: How many were compared.
        same_label: Share of the decisions that stay (see `changes`), in [0, 1].
        mean_shift: Mean absolute difference of their scores.
    """

    texts: int
    same_label: float
    mean_shift: float


@dataclass(frozen=True, slots=True)
class BatchShift:
    """What a text's batch mates do to its answer, INT8 alone against INT8 in a batch.

    Attributes:
        median: Median absolute difference of the score of a decision (see `changes`).
        p99: Its 99th percentile.
        flips: Share of the decisions that differ, in [0, 1].
    """

    median: float
    p99: float
    flips: float


def changes(
    before: FloatArray, after: FloatArray, head: Head
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Compares two [texts, outputs] arrays of logits of the same texts by what callers see.

    Returns:
        Whether a decision is another one, and how far its score moved, both [texts, decisions]:
        the label of a single-label model, each label of a multi-label model, each value of a
        regression, which is another one above ``MAX_VALUE_SHIFT`` and moves in proportion to its
        size where that is above 1.
    """
    if head.activation == "softmax":
        first, second = softmax(before), softmax(after)
    else:
        first, second = (scores_of(logits, head).astype(np.float64) for logits in (before, after))
    if head.task == "single_label":
        label, rows = first.argmax(axis=1), np.arange(len(first))
        changed = label != second.argmax(axis=1)
        return changed[:, None], np.abs(first[rows, label] - second[rows, label])[:, None]
    shift = np.abs(first - second)
    if head.task == "multi_label":
        thresholds = np.array(head.thresholds)
        return (first >= thresholds) != (second >= thresholds), shift
    shift = shift / np.maximum(1, np.abs(first))
    return shift > MAX_VALUE_SHIFT, shift


def batch_shift(together: FloatArray, alone: FloatArray, head: Head = USUAL) -> BatchShift:
    """Compares [texts, outputs] logits of the same texts, scored in batches and one by one."""
    changed, shift = changes(together, alone, head)
    flips = float(changed.mean())
    return BatchShift(float(np.median(shift)), float(np.percentile(shift, 99)), flips)


def require_equal(
    torch_logits: FloatArray,
    onnx_logits: FloatArray,
    tolerance: float = LOGIT_TOLERANCE,
    what: str = "ONNX",
) -> float:
    """Returns the largest absolute difference of two [texts, labels] arrays of logits.

    Raises:
        ParityError: It is above the tolerance, or not a number.
    """
    difference, allowed = largest_difference(torch_logits, onnx_logits, tolerance)
    if not difference <= allowed:
        raise ParityError(
            f"{what} differs from torch by {difference:.2e} in a logit; allowed is {allowed:.0e}"
        )
    return difference


def largest_difference(
    expected: FloatArray, found: FloatArray, tolerance: float
) -> tuple[float, float]:
    """Returns the largest absolute difference of two arrays of logits, and the largest allowed: the
    tolerance for logits up to 1, in proportion above, as float32 rounds.
    """
    allowed = tolerance * max(1.0, float(np.abs(expected).max(initial=0.0)))
    return float(np.abs(expected - found).max(initial=0.0)), allowed


def require_agreement(
    fp32_logits: FloatArray,
    int8_logits: FloatArray,
    minimum: float = MIN_AGREEMENT,
    head: Head = USUAL,
    what: str = "INT8",
) -> Agreement:
    """Returns how far INT8 follows FP32 on [texts, outputs] logits.

    Raises:
        QuantisationError: A smaller share than `minimum` of the decisions (see `changes`) stays.
    """
    changed, shift = changes(fp32_logits, int8_logits, head)
    agreement = Agreement(len(changed), float(1 - changed.mean()), float(shift.mean()))
    if not agreement.same_label >= minimum:
        kept = _KEPT[head.task].format(share=f"{agreement.same_label:.1%}", texts=agreement.texts)
        raise QuantisationError(f"{what} keeps {kept}; at least {minimum:.1%} is needed")
    return agreement


def require_steady(
    fp32_logits: FloatArray,
    int8_logits: FloatArray,
    texts: Sequence[str],
    head: Head = USUAL,
    what: str = "INT8",
) -> None:
    """Checks INT8 on odd texts, each by itself: it may not be sure of another answer.

    Raises:
        QuantisationError: A decision is another one (see `changes`) and its score moved by more
            than ``MAX_ODD_SHIFT``, or a logit is not a number.
    """
    changed, shift = changes(fp32_logits, int8_logits, head)
    moved = ((changed & (shift > MAX_ODD_SHIFT)) | ~np.isfinite(shift)).any(axis=1)
    if moved.any():
        most = shift.max(axis=1)
        worst = int(np.argmax(np.where(moved, most, 0)))
        text = texts[worst]
        shown = text if len(text) <= 40 else f"{text[:40]}… ({len(text)} characters)"
        raise QuantisationError(
            f"{what} gives {shown!r} another answer than FP32: a score moves by {most[worst]:.2f}"
        )


def softmax(logits: npt.NDArray[np.floating], temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Returns probabilities of the same shape, along the last axis, after division by the
    temperature.
    """
    scaled = logits.astype(np.float64) / temperature
    exponent = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: npt.NDArray[np.float64] = exponent / exponent.sum(axis=-1, keepdims=True)
    return probabilities
