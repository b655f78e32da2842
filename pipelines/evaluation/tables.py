"""Figures as rows of a table, header first, for people."""

from __future__ import annotations

from pipelines.evaluation.figures import Accuracy, Figures


def summary_table(figures: Figures) -> list[list[str]]:
    """Returns header and rows: each figure with its 95 % interval."""
    accuracy, calibrated = figures.accuracy, figures.calibrated
    rows = [
        ["figure", "value", "95 % interval"],
        ["texts", str(accuracy.texts), ""],
        ["accuracy", f"{accuracy.value:.4f}", interval(accuracy)],
        [
            "macro F1",
            f"{figures.macro_f1:.4f}",
            f"{figures.macro_f1_low:.4f}-{figures.macro_f1_high:.4f}",
        ],
    ]
    if calibrated is not None:
        rows += [
            ["calibration error", f"{calibrated.ece:.4f}", ""],
            ["NLL (nats)", f"{calibrated.nll:.4f}", ""],
            ["Brier", f"{calibrated.brier:.4f}", ""],
        ]
    return rows


def label_table(figures: Figures) -> list[list[str]]:
    """Returns header and a row for each label."""
    rows = [["label", "texts", "predicted", "precision", "recall", "F1"]]
    rows += [
        [
            one.label,
            str(one.texts),
            str(one.predicted),
            *(f"{value:.4f}" for value in (one.precision, one.recall, one.f1)),
        ]
        for one in figures.labels
    ]
    return rows


def confusion_table(figures: Figures) -> list[list[str]]:
    """Returns header and rows: true labels down, predicted labels across."""
    names = [one.label for one in figures.labels]
    rows = [["true \\ predicted", *names]]
    rows += [
        [name, *map(str, counts)] for name, counts in zip(names, figures.confusion, strict=True)
    ]
    return rows


def slice_table(figures: Figures) -> list[list[str]]:
    """Returns header and a row for each slice, worst accuracy first in each column."""
    rows = [["slice", "texts", "accuracy", "95 % interval", "macro F1"]]
    columns = list(dict.fromkeys(one.column for one in figures.slices))
    for one in sorted(
        figures.slices, key=lambda one: (columns.index(one.column), one.accuracy.value)
    ):
        rows.append(
            [
                f"{one.column}={one.value}",
                str(one.accuracy.texts),
                f"{one.accuracy.value:.4f}",
                interval(one.accuracy),
                f"{one.macro_f1:.4f}",
            ]
        )
    return rows


def interval(accuracy: Accuracy) -> str:
    """The interval as text."""
    return f"{accuracy.low:.4f}-{accuracy.high:.4f}"
