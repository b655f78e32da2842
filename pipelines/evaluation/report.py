"""The evaluation as a record, and as a table for people.

Filled by `evaluate`, shown on stdout, written as JSON, and turned into the model card by `card`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from pipelines.evaluation.figures import (
    DOMAIN,
    Accuracy,
    ClassArray,
    Figures,
    accuracy_of,
    flat,
    measure,
)
from pipelines.evaluation.metrics import (
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
)
from pipelines.evaluation.temperature import fit_temperature
from pipelines.export.parity import softmax


@dataclass(frozen=True, slots=True)
class Calibration:
    """How honest the scores are: before (temperature 1) and after the temperature that validation
    gave.

    Attributes:
        temperature: Fitted on the validation split.
        ece_before: Expected calibration error with temperature 1.
        ece: The same after division by the temperature.
        nll_before: Negative log likelihood in nats with temperature 1.
        nll: The same after division by the temperature.
        brier: Brier score after division by the temperature.
    """

    temperature: float
    ece_before: float
    ece: float
    nll_before: float
    nll: float
    brier: float


@dataclass(frozen=True, slots=True)
class SystemReport:
    """One system on the test split; calibration is None where a system gives no probabilities."""

    system: str
    figures: Figures
    probe: Accuracy | None
    calibration: Calibration | None

    @property
    def domains(self) -> dict[str, Accuracy]:
        """Accuracy by domain."""
        return {one.value: one.accuracy for one in self.figures.slices if one.column == DOMAIN}


def report_system(
    system: str,
    *,
    truth: ClassArray,
    predicted: ClassArray,
    domains: Sequence[str],
    labels: Sequence[str],
    probe_hits: npt.NDArray[np.bool_] | None,
    calibration: Calibration | None,
    probabilities: npt.NDArray[np.floating] | None = None,
) -> SystemReport:
    """Measures a system.

    Args:
        system: Name in the tables.
        truth: [texts] true class.
        predicted: [texts] class by the system.
        domains: [texts] domain of each text.
        labels: Class names.
        probe_hits: [sentences] whether each probe sentence was right; None where the probe does not
            apply.
        calibration: As `calibrate` returns it.
        probabilities: [texts, labels] with the temperature; None where there are none.
    """
    slices = {DOMAIN: domains}
    return SystemReport(
        system=system,
        figures=measure(truth, predicted, labels, slices=slices, probabilities=probabilities),
        probe=None if probe_hits is None else accuracy_of(probe_hits),
        calibration=calibration,
    )


def calibrate(
    validation: npt.NDArray[np.floating],
    validation_truth: ClassArray,
    test: npt.NDArray[np.floating],
    truth: ClassArray,
    temperature: float | None = None,
) -> Calibration:
    """Fits the temperature on validation logits and measures on test logits, both [texts, labels].

    A temperature that is given is kept: it is what a finished bundle will serve with.
    """
    fitted = fit_temperature(validation, validation_truth) if temperature is None else temperature
    before, after = softmax(test), softmax(test, fitted)
    return Calibration(
        temperature=fitted,
        ece_before=expected_calibration_error(before, truth),
        ece=expected_calibration_error(after, truth),
        nll_before=negative_log_likelihood(before, truth),
        nll=negative_log_likelihood(after, truth),
        brier=brier_score(after, truth),
    )


def flat_metrics(report: SystemReport) -> dict[str, float]:
    """Returns the figures by name, as a bundle and an MLflow run keep them."""
    metrics = flat(report.figures)
    if report.probe is not None:
        metrics["probe_accuracy"] = report.probe.value
    if report.calibration is not None:
        metrics |= asdict(report.calibration)
    return metrics


def accuracy_table(reports: Sequence[SystemReport]) -> list[list[str]]:
    """Returns header and rows: accuracy in percent with its interval, one column per domain."""
    domains = list(reports[0].domains)
    header = [
        "system",
        *(f"{domain} ({reports[0].domains[domain].texts})" for domain in domains),
        "macro average",
        "macro F1",
    ]
    rows = [header]
    for report in reports:
        cells = [
            f"{a.value:.1%} ({a.low:.1%}-{a.high:.1%})".replace("%", "")
            for a in report.domains.values()
        ]
        rows.append(
            [
                report.system,
                *cells,
                f"{100 * report.figures.macro_accuracy:.1f}",
                f"{report.figures.macro_f1:.3f}",
            ]
        )
    return rows


def calibration_table(reports: Sequence[SystemReport]) -> list[list[str]]:
    """Returns header and rows for the systems that give probabilities."""
    rows = [
        ["system", "temperature", "ECE before", "ECE after", "NLL before", "NLL after", "Brier"]
    ]
    for report in reports:
        if (c := report.calibration) is not None:
            figures = (c.temperature, c.ece_before, c.ece, c.nll_before, c.nll, c.brier)
            rows.append([report.system, *(f"{figure:.3f}" for figure in figures)])
    return rows


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """Returns the rows in aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Returns the rows as a Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    return "\n".join(lines)
