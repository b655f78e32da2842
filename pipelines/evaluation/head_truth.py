"""What is right for each text, in the form that a model's head answers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.data.labelled_texts import LabelledTexts
from pipelines.errors import DatasetError

_SEPARATOR = "|"


def classes_of(data: LabelledTexts, labels: Sequence[str]) -> npt.NDArray[np.int64]:
    """Returns [texts], the position of each text's label.

    Raises:
        DatasetError: A label is not the model's.
    """
    _refuse_unknown(data.labels, labels)
    return np.array([labels.index(label) for label in data.labels], dtype=np.int64)


def sets_of(
    data: LabelledTexts, column: str, labels: Sequence[str], names: Mapping[str, str]
) -> npt.NDArray[np.bool_]:
    """Returns [texts, labels], whether each label applies.

    A cell is a list, a list as JSON, or labels between bars; `-` or an empty list is none.

    Args:
        data: The texts.
        column: Of the labels.
        labels: The model's.
        names: The file's label to the model's.

    Raises:
        DatasetError: A label is not the model's, or a cell is none of these.
    """
    cells = [[names.get(label, label) for label in _set(row[column])] for row in data.rows]
    _refuse_unknown([label for cell in cells for label in cell], labels)
    return np.array([[label in cell for label in labels] for cell in cells], dtype=np.bool_)


def values_of(data: LabelledTexts, column: str, labels: Sequence[str]) -> npt.NDArray[np.float64]:
    """Returns [texts, labels], each value; a cell is a number, or a list of them for several.

    Raises:
        DatasetError: A cell is no finite number, or not one for each of the model's.
    """
    rows = []
    for number, row in enumerate(data.rows, start=1):
        try:
            found = [float(value) for value in _list(row[column])]
        except (TypeError, ValueError):
            found = [math.nan]
        if len(found) != len(labels) or not all(map(math.isfinite, found)):
            wanted = "a number" if len(labels) == 1 else f"a list of {len(labels)} numbers"
            raise DatasetError(
                f"row {number}: {str(row[column])[:50]!r} in column {column!r} is not {wanted} "
                f"({', '.join(labels[:20])})"
            )
        rows.append(found)
    return np.array(rows)


def _set(cell: Any) -> list[str]:
    if isinstance(cell, str) and not cell.strip().startswith("["):
        parts = [part.strip() for part in cell.split(_SEPARATOR)]
        return [part for part in parts if part and part != "-"]
    return [str(label) for label in _list(cell)]


def _list(cell: Any) -> list[Any]:
    if isinstance(cell, str) and cell.strip().startswith("["):
        try:
            cell = json.loads(cell)
        except ValueError:
            raise DatasetError(f"{cell[:50]!r} begins like a list and is no JSON") from None
    return list(cell) if isinstance(cell, list | tuple) else [cell]


def _refuse_unknown(found: Sequence[str], labels: Sequence[str]) -> None:
    if unknown := sorted(set(found) - set(labels)):
        raise DatasetError(
            f"labels {', '.join(unknown[:20])} are not the model's, which are "
            f"{', '.join(labels[:20])}; name them with --map {unknown[0]}={labels[0]},…"
        )
