"""The table that every later step reads: one row per text, and where it belongs.

Written by `data`, read by `train`, `evaluate` and `baselines`. One Parquet file with the columns
text, label, target, domain, split and group, and beside it a manifest with the dataset's digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from pipelines.errors import DatasetError

TABLE_NAME = "dataset.parquet"
MANIFEST_NAME = "manifest.json"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Row:
    """One text.

    Attributes:
        text: As it was found, outer white space removed.
        label: The class's name; None where the text is for training on its target alone.
        target: Probability of the second label in a two-class table, in [0, 1]; None where only a
            label is known.
        domain: Where the text comes from; accuracy is reported for each.
        split: `train`, `validation` or `test`; empty before the split.
        group: The document that the text is a sentence of; all texts of a group get one split.
            Empty where the text stands alone.
    """

    text: str
    label: str | None
    target: float | None
    domain: str
    split: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """All rows, and the class names in the order of the model's outputs."""

    rows: tuple[Row, ...]
    labels: tuple[str, ...]
    digest: str

    def of(self, split: str, *, labelled: bool = True) -> list[Row]:
        """Returns a split's rows in file order; by default only those with a label."""
        return [
            row
            for row in self.rows
            if row.split == split and (row.label is not None or not labelled)
        ]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What manifest.json says.

    Attributes:
        digest: Of the rows, see `dataset_digest`.
        labels: In the order of the model's outputs.
        origin: Name of the file or corpus.
        rows: Rows per split.
        rows_read: Before anything was removed.
        near_duplicates_removed: Rows whose near twin was kept.
        unlabelled_dropped: Rows without a label that fell into validation or test.
        domains: All domains, sorted.
        conflicting_labels_removed: How many near duplicates had another label than their kept twin.
    """

    digest: str
    labels: list[str]
    origin: str
    rows: dict[str, int]
    rows_read: int
    near_duplicates_removed: int
    unlabelled_dropped: int
    domains: list[str]
    conflicting_labels_removed: int = 0

    def dropped(self) -> str:
        """One sentence on what is not in the splits; empty where every row is."""
        said = []
        if near := self.near_duplicates_removed:
            said.append(
                f"{near:,} near duplicates, {self.conflicting_labels_removed:,} of them with "
                "another label than the text that was kept"
            )
        if self.unlabelled_dropped:
            said.append(f"{self.unlabelled_dropped:,} texts without a label")
        return f"dropped of {self.rows_read:,} rows: {'; '.join(said)}" if said else ""


def dataset_digest(rows: Iterable[Row]) -> str:
    """Returns the sha256 over the sorted (text, label, target, split) rows: the same for any file
    order.
    """
    lines = sorted(
        json.dumps([row.text, row.label, row.target, row.split], ensure_ascii=False) for row in rows
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write_table(folder: Path, table: Table, manifest: Manifest) -> None:
    """Writes the Parquet file and its manifest into `folder`, which is made when missing."""
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([asdict(row) for row in table.rows]).to_parquet(folder / TABLE_NAME, index=False)
    text = json.dumps(asdict(manifest), indent=2, ensure_ascii=False)
    (folder / MANIFEST_NAME).write_text(text + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest.

    Raises:
        DatasetError: There is none, or it has other fields.
    """
    try:
        return Manifest(**json.loads((folder / MANIFEST_NAME).read_text()))
    except FileNotFoundError as exc:
        raise DatasetError(f"{folder}: no dataset here; run `sentigraph data` first") from exc
    except (TypeError, ValueError) as exc:
        raise DatasetError(
            f"{folder / MANIFEST_NAME}: not a manifest of this version: {exc}"
        ) from exc


def read_table(folder: Path) -> Table:
    """Reads what `write_table` wrote.

    Raises:
        DatasetError: There is no table, or its rows are not those of the manifest.
    """
    manifest = read_manifest(folder)
    frame = pd.read_parquet(folder / TABLE_NAME)
    records = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
    rows = tuple(Row(**{str(key): value for key, value in record.items()}) for record in records)
    digest = dataset_digest(rows)
    if digest != manifest.digest:
        raise DatasetError(
            f"{folder}: rows have digest {digest}, the manifest says {manifest.digest}"
        )
    return Table(rows, tuple(manifest.labels), digest)
