"""The figures of one classifier on labelled texts, from which decisions are made.

`evaluate` and `models evaluate` both measure with `measure`: accuracy with its interval, each
label, each slice, calibration. `flat` gives the figures names, as bundles, MLflow and policies
know them. Needs numpy alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.evaluation.metrics import (
    brier_score,
    expected_calibration_error,
    macro_f1,
    negative_log_likelihood,
)
from registry.catalog.intervals import wilson_interval

ClassArray = npt.NDArray[np.int64]
RESAMPLES = 1_000
DOMAIN = "domain"
# The registry takes 100 metrics of an evaluation.
MAX_NAMED = 90


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Hits among texts, with the 95 % Wilson interval; shares in [0, 1]."""

    texts: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """One label: how many texts have it and got it, and how well the two agree.

    Attributes:
        label: Its name.
        texts: Texts that have it.
        predicted: Texts that got it.
        precision: Share of those that got it and have it; 0 where none got it.
        recall: Share of those that have it and got it; 0 where none has it.
        f1: Harmonic mean of both.
    """

    label: str
    texts: int
    predicted: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Slice:
    """The texts with one value in a column."""

    column: str
    value: str
    accuracy: Accuracy
    macro_f1: float


@dataclass(frozen=True, slots=True)
class Calibrated:
    """How honest the scores are: expected calibration error, NLL in nats, Brier score."""

    ece: float
    nll: float
    brier: float


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of one classifier on one set of texts.

    Attributes:
        accuracy: Of all texts.
        macro_f1: Unweighted mean of F1 over the labels that occur.
        macro_f1_low: Lower end of its 95 % bootstrap interval.
        macro_f1_high: Upper end.
        labels: Each label, in the order of the scores.
        confusion: [true, predicted] counts.
        slices: By column and value.
        calibrated: None where there are no probabilities.
    """

    accuracy: Accuracy
    macro_f1: float
    macro_f1_low: float
    macro_f1_high: float
    labels: tuple[LabelFigures, ...]
    confusion: tuple[tuple[int, ...], ...]
    slices: tuple[Slice, ...]
    calibrated: Calibrated | None

    @property
    def macro_accuracy(self) -> float:
        """Unweighted mean of the accuracy over the domains; of all texts without domains."""
        found = [one.accuracy.value for one in self.slices if one.column == DOMAIN]
        return float(np.mean(found)) if found else self.accuracy.value


def measure(
    truth: ClassArray,
    predicted: ClassArray,
    labels: Sequence[str],
    *,
    slices: Mapping[str, Sequence[str]] | None = None,
    probabilities: npt.NDArray[np.floating] | None = None,
) -> Figures:
    """Counts everything.

    Args:
        truth: [texts] true class.
        predicted: [texts] class by the classifier.
        labels: Class names.
        slices: Column to its [texts] values.
        probabilities: [texts, labels] as served; None where the classifier gives none.
    """
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (truth, predicted), 1)
    low, high = _f1_interval(confusion)
    return Figures(
        accuracy=accuracy_of(truth == predicted),
        macro_f1=macro_f1(truth, predicted, len(labels)),
        macro_f1_low=low,
        macro_f1_high=high,
        labels=tuple(_label(confusion, at, name) for at, name in enumerate(labels)),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        slices=tuple(
            _slice(column, value, (truth[inside], predicted[inside]), len(labels))
            for column, values in (slices or {}).items()
            for value, inside in _groups(values)
        ),
        calibrated=None
        if probabilities is None
        else Calibrated(
            ece=expected_calibration_error(probabilities, truth),
            nll=negative_log_likelihood(probabilities, truth),
            brier=brier_score(probabilities, truth),
        ),
    )


def accuracy_of(hits: npt.NDArray[np.bool_]) -> Accuracy:
    """Returns the share of hits with its interval."""
    low, high = wilson_interval(int(hits.sum()), len(hits))
    return Accuracy(len(hits), float(hits.mean()), low, high)


def flat(figures: Figures) -> dict[str, float]:
    """Returns the figures by name; those of slices and labels as far as the registry has room.

    ``texts`` is the number that ``accuracy`` is a share of, so a reader can give its interval.
    """
    named = {
        "texts": float(figures.accuracy.texts),
        "accuracy": figures.accuracy.value,
        "macro_accuracy": figures.macro_accuracy,
        "macro_f1": figures.macro_f1,
    }
    if (calibrated := figures.calibrated) is not None:
        named |= {"ece": calibrated.ece, "nll": calibrated.nll, "brier": calibrated.brier}
    details = {
        f"accuracy_{one.value if one.column == DOMAIN else f'{one.column}_{one.value}'}": (
            one.accuracy.value
        )
        for one in figures.slices
    }
    details |= {f"f1_{one.label}": one.f1 for one in figures.labels}
    details |= {f"recall_{one.label}": one.recall for one in figures.labels}
    details |= {f"precision_{one.label}": one.precision for one in figures.labels}
    for name, value in details.items():
        if len(named) < MAX_NAMED:
            named.setdefault(metric_name(name), value)
    return named


def metric_name(name: str) -> str:
    """The name with the characters that MLflow takes, 250 at most."""
    return re.sub(r"[^\w\-./ :]", "_", name)[:250]


def _label(confusion: npt.NDArray[np.int64], at: int, name: str) -> LabelFigures:
    both, texts, got = (
        int(count) for count in (confusion[at, at], confusion[at].sum(), confusion[:, at].sum())
    )
    return LabelFigures(
        label=name,
        texts=texts,
        predicted=got,
        precision=both / got if got else 0.0,
        recall=both / texts if texts else 0.0,
        f1=2 * both / (texts + got) if texts + got else 0.0,
    )


def _groups(values: Sequence[str]) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Each value and [texts] where it is."""
    array = np.array(values)
    yield from ((value, array == value) for value in sorted(set(values)))


def _slice(column: str, value: str, pair: tuple[ClassArray, ClassArray], labels: int) -> Slice:
    truth, predicted = pair
    return Slice(column, value, accuracy_of(truth == predicted), macro_f1(truth, predicted, labels))


def _f1_interval(confusion: npt.NDArray[np.int64]) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of macro F1 (Efron 1979).

    Macro F1 is a function of the confusion matrix, so drawing texts with replacement is drawing
    the matrix from a multinomial distribution.
    """
    texts, labels = int(confusion.sum()), len(confusion)
    random = np.random.default_rng(0)
    drawn = random.multinomial(texts, (confusion / texts).ravel(), size=RESAMPLES)
    matrices = drawn.reshape(RESAMPLES, labels, labels)
    both = np.diagonal(matrices, axis1=1, axis2=2)
    either = matrices.sum(axis=1) + matrices.sum(axis=2)
    occurs = either > 0
    scores = np.divide(2 * both, either, out=np.zeros(both.shape), where=occurs)
    means = scores.sum(axis=1) / occurs.sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
