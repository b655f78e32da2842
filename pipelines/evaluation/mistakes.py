"""The texts that a classifier got wrong, with the columns of the file that they came from."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.data.labelled_texts import LabelledTexts, as_text
from pipelines.errors import DatasetError

ADDED = ("expected", "predicted", "score")


def write_mistakes(
    path: Path,
    data: LabelledTexts,
    labels: tuple[str, ...],
    probabilities: npt.NDArray[np.floating],
) -> int:
    """Writes the wrong answers as CSV, surest first, and returns how many there are.

    Each row has its own columns, then the expected and the predicted label, the predicted one's
    score and `score_LABEL` of every label.

    Raises:
        DatasetError: The file cannot be written, or the data has a column that is added.
    """
    added = [*ADDED, *(f"score_{label}" for label in labels)]
    own = list(dict.fromkeys(key for row in data.rows for key in row))
    if taken := sorted(set(own) & set(added)):
        raise DatasetError(f"{path}: the data has a column named {', '.join(taken)}: rename it")
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = [at for at, label in enumerate(data.labels) if labels[predicted[at]] != label]
    wrong.sort(key=lambda at: -confidence[at])
    try:
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow([*own, *added])
            for at in wrong:
                scores = [f"{value:.6f}" for value in probabilities[at]]
                answer = [data.labels[at], labels[predicted[at]], f"{confidence[at]:.6f}"]
                row = [as_text(data.rows[at].get(key)) for key in own]
                writer.writerow([*row, *answer, *scores])
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written: {error}") from error
    return len(wrong)
