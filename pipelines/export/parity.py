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

from pipelines.errors import ParityError, QuantisationError

FloatArray = npt.NDArray[np.float32]

LOGIT_TOLERANCE = 1e-4
MIN_AGREEMENT = 0.97
# Odd texts are few, and a model may be undecided on them.
MAX_ODD_SHIFT = 0.2


@dataclass(frozen=True, slots=True)
class Agreement:
    """INT8 against FP32 on the same texts.

    Attributes:
        texts: How many were compared.
        same_label: Share with the same label, in [0, 1].
        mean_shift: Mean absolute difference of the probability of FP32's label.
    """

    texts: int
    same_label: float
    mean_shift: float


@dataclass(frozen=True, slots=True)
class BatchShift:
    """What a text's batch mates do to its answer, INT8 alone against INT8 in a batch.

    Attributes:
        median: Median absolute difference of the probability of the label.
        p99: Its 99th percentile.
        flips: Share of texts whose label differs, in [0, 1].
    """

    median: float
    p99: float
    flips: float


def batch_shift(together: FloatArray, alone: FloatArray) -> BatchShift:
    """Compares [texts, labels] logits of the same texts, scored in batches and one by one."""
    label, rows = together.argmax(axis=1), np.arange(len(together))
    shift = np.abs(softmax(together)[rows, label] - softmax(alone)[rows, label])
    flips = float((label != alone.argmax(axis=1)).mean())
    return BatchShift(float(np.median(shift)), float(np.percentile(shift, 99)), flips)


def require_equal(
    torch_logits: FloatArray, onnx_logits: FloatArray, tolerance: float = LOGIT_TOLERANCE
) -> float:
    """Returns the largest absolute difference of two [texts, labels] arrays of logits.

    Raises:
        ParityError: It is above the tolerance, or not a number.
    """
    difference, allowed = largest_difference(torch_logits, onnx_logits, tolerance)
    if not difference <= allowed:
        raise ParityError(
            f"ONNX differs from torch by {difference:.2e} in a logit; allowed is {allowed:.0e}"
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
    fp32_logits: FloatArray, int8_logits: FloatArray, minimum: float = MIN_AGREEMENT
) -> Agreement:
    """Returns how far INT8 follows FP32 on [texts, labels] logits.

    Raises:
        QuantisationError: Fewer texts than `minimum` (a share) keep their label.
    """
    before, after = fp32_logits.argmax(axis=1), int8_logits.argmax(axis=1)
    rows = np.arange(len(before))
    shift = np.abs(softmax(fp32_logits)[rows, before] - softmax(int8_logits)[rows, before])
    agreement = Agreement(len(before), float((before == after).mean()), float(shift.mean()))
    if not agreement.same_label >= minimum:
        raise QuantisationError(
            f"INT8 keeps the label of {agreement.same_label:.1%} of {agreement.texts} texts; "
            f"at least {minimum:.1%} is needed"
        )
    return agreement


def require_steady(fp32_logits: FloatArray, int8_logits: FloatArray, texts: Sequence[str]) -> None:
    """Checks INT8 on odd texts, each by itself: it may not be sure of another label.

    Raises:
        QuantisationError: A text gets another label and its probability moved by more than
            ``MAX_ODD_SHIFT``, or a logit is not a number.
    """
    before, after = softmax(fp32_logits), softmax(int8_logits)
    label, rows = before.argmax(axis=1), np.arange(len(texts))
    shift = np.abs(before[rows, label] - after[rows, label])
    moved = ((label != after.argmax(axis=1)) & (shift > MAX_ODD_SHIFT)) | ~np.isfinite(shift)
    if moved.any():
        worst = int(np.argmax(np.where(moved, shift, 0)))
        text = texts[worst]
        shown = text if len(text) <= 40 else f"{text[:40]}… ({len(text)} characters)"
        raise QuantisationError(
            f"INT8 gives {shown!r} another label than FP32, with {shift[worst]:.2f} less for FP32's"
        )


def softmax(logits: npt.NDArray[np.floating], temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Returns probabilities of the same shape, along the last axis, after division by the
    temperature.
    """
    scaled = logits.astype(np.float64) / temperature
    exponent = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: npt.NDArray[np.float64] = exponent / exponent.sum(axis=-1, keepdims=True)
    return probabilities
