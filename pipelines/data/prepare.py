"""First step: from raw texts to one table with a train, a validation and a test split.

Reads the ICWSM-14 texts, or any CSV, JSON Lines or Parquet file of (text, label); removes near
duplicates; splits by the digest of the text, so that a text lands in the same split whatever else
is in the file. `train` comes next.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from pipelines.data.icwsm import LABELS, LEXICON, read_icwsm
from pipelines.data.near_duplicates import text_digest, without_near_duplicates
from pipelines.data.table import SPLITS, Manifest, Row, Table, dataset_digest, write_table
from pipelines.errors import DatasetError

TEST_SHARE = 0.10
VALIDATION_SHARE = 0.10
READERS = {".csv": "CSV", ".jsonl": "JSON Lines", ".parquet": "Parquet"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph data`."""
    parser.add_argument(
        "--input",
        type=Path,
        help="CSV, JSONL or Parquet with the columns text and label (default: ICWSM-14)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(".sentigraph/data"),
        help="folder of the table and its manifest",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(".sentigraph/cache"),
        help="folder of downloaded archives",
    )
    parser.add_argument(
        "--limit", type=int, help="keep only this many texts, chosen by digest (for a trial run)"
    )
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")


def main(args: argparse.Namespace) -> int:
    """Runs the step and prints what was written; returns the exit status."""
    if args.input is None:
        table = build_table(
            read_icwsm(args.cache), LABELS, args.out, origin="ICWSM-14", limit=args.limit
        )
    else:
        rows = read_file(args.input)
        labels = tuple(sorted({row.label for row in rows if row.label is not None}))
        table = build_table(rows, labels, args.out, origin=args.input.name, limit=args.limit)
    counts = {split: len(table.of(split, labelled=False)) for split in SPLITS}
    if args.json:
        print(json.dumps({"digest": table.digest, "labels": table.labels, "rows": counts}))
    else:
        print(
            f"{args.out}: "
            + ", ".join(f"{split} {count}" for split, count in counts.items())
            + f", digest {table.digest[:12]}"
        )
    return 0


def read_file(path: Path) -> list[Row]:
    """Reads the columns text and label, and where they exist domain and group (texts of one group,
    such as the sentences of a document, stay in one split).

    Raises:
        DatasetError: Unknown suffix, missing column, empty text or label, or fewer than two labels.
    """
    frame = _read_frame(path)
    missing = [column for column in ("text", "label") if column not in frame.columns]
    if missing:
        there = ", ".join(map(str, frame.columns))
        raise DatasetError(f"{path.name}: no column {' and '.join(missing)}; it has {there}")
    texts = frame["text"].fillna("").astype(str).str.strip()
    labels = frame["label"].fillna("").astype(str).str.strip()
    for column, values in (("text", texts), ("label", labels)):
        empty = [number for number, value in enumerate(values, start=1) if not value]
        if empty:
            raise DatasetError(
                f"{path.name}: {len(empty)} rows have an empty {column}, first row {empty[0]}"
            )
    if labels.nunique() < 2:
        raise DatasetError(
            f"{path.name}: all {len(frame)} rows have the label {labels.iloc[0]!r}; two are needed"
        )
    domains = (
        frame["domain"].astype(str)
        if "domain" in frame.columns
        else pd.Series(["all"] * len(frame))
    )
    groups = (
        frame["group"].fillna("").astype(str)
        if "group" in frame.columns
        else pd.Series([""] * len(frame))
    )
    return [
        Row(text=text, label=label, target=None, domain=domain, group=group)
        for text, label, domain, group in zip(texts, labels, domains, groups, strict=True)
    ]


def _read_frame(path: Path) -> pd.DataFrame:
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise DatasetError(f"{path.name}: {suffix or 'no suffix'} is none of {', '.join(READERS)}")
    try:
        if suffix == ".csv":
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        elif suffix == ".jsonl":
            frame = pd.read_json(path, lines=True, dtype=False)
        else:
            frame = pd.read_parquet(path)
    except (OSError, ValueError) as exc:
        raise DatasetError(f"{path}: not readable as {READERS[suffix]}: {exc}") from exc
    if frame.empty:
        raise DatasetError(f"{path.name}: no rows")
    return frame


def split_of(text: str) -> str:
    """Returns the split of a text, or of a whole document by its name: a function of the normalised
    letters alone.
    """
    share = int(text_digest(text)[:12], 16) / 16**12
    if share < TEST_SHARE:
        return "test"
    return "validation" if share < TEST_SHARE + VALIDATION_SHARE else "train"


def build_table(
    rows: Sequence[Row], labels: Sequence[str], out: Path, *, origin: str, limit: int | None = None
) -> Table:
    """Removes near duplicates, assigns splits and writes the table.

    Lexicon entries always go to training: they are words, not texts, and say nothing about accuracy
    on texts. Texts without a label that fall into validation or test are dropped, as nothing can be
    scored there.

    Raises:
        DatasetError: A split has no row, or a label no row in training.
    """
    stripped = [replace(row, text=row.text.strip()) for row in rows]
    if limit is not None:
        # Lowest digests first would all be test texts, so the digest's other end orders the choice.
        stripped = sorted(stripped, key=lambda row: text_digest(row.text)[::-1])[:limit]
    unique = without_near_duplicates(stripped)
    placed = [
        replace(row, split="train" if row.domain == LEXICON else split_of(row.group or row.text))
        for row in unique
    ]
    kept = [row for row in placed if row.split == "train" or row.label is not None]
    for split in SPLITS:
        found = {row.label for row in kept if row.split == split}
        lost = [label for label in labels if label not in found]
        if lost:
            raise DatasetError(
                f"{origin}: no {split} text has the label {', '.join(lost)}; more rows are needed"
            )
    table = Table(tuple(kept), tuple(labels), dataset_digest(kept))
    manifest = Manifest(
        digest=table.digest,
        labels=list(labels),
        origin=origin,
        rows={split: sum(row.split == split for row in kept) for split in SPLITS},
        rows_read=len(rows),
        near_duplicates_removed=len(stripped) - len(unique),
        unlabelled_dropped=len(placed) - len(kept),
        domains=sorted({row.domain for row in kept}),
    )
    write_table(out, table, manifest)
    return table
