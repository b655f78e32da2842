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

from pipelines.data.icwsm import LABELS, LEXICON, read_icwsm
from pipelines.data.labelled_texts import (
    Columns,
    add_column_arguments,
    columns_of,
    read_labelled_texts,
)
from pipelines.data.near_duplicates import text_digest, without_near_duplicates
from pipelines.data.table import (
    SPLITS,
    Manifest,
    Row,
    Table,
    dataset_digest,
    read_manifest,
    write_table,
)
from pipelines.errors import DatasetError
from pipelines.progress import say

TEST_SHARE = 0.10
VALIDATION_SHARE = 0.10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph data`."""
    add_input_arguments(parser)
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


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the files of one's own data, and where texts and labels are in them."""
    parser.add_argument(
        "--input",
        type=Path,
        nargs="+",
        help="CSV, JSON lines or Parquet files of texts and labels (default: ICWSM-14)",
    )
    add_column_arguments(parser)


def input_options(args: argparse.Namespace) -> list[str]:
    """The options of ``add_input_arguments`` as they were given, for another parser."""
    if not args.input:
        return []
    columns = ["--text-column", args.text_column, "--label-column", args.label_column]
    columns += ["--map", args.map] if args.map else []
    columns += ["--separator", args.separator] if args.separator else []
    return ["--input", *map(str, args.input), *columns]


def main(args: argparse.Namespace) -> int:
    """Runs the step and prints what was written; returns the exit status."""
    if args.input is None:
        table = build_table(
            read_icwsm(args.cache), LABELS, args.out, origin="ICWSM-14", limit=args.limit
        )
    else:
        rows = read_files(args.input, columns_of(args))
        labels = tuple(sorted({row.label for row in rows if row.label is not None}))
        origin = origin_of(args.input)
        table = build_table(rows, labels, args.out, origin=origin, limit=args.limit)
    manifest = read_manifest(args.out)
    if dropped := manifest.dropped():
        say(dropped)
    counts = {split: len(table.of(split, labelled=False)) for split in SPLITS}
    if args.json:
        removed = {
            "near_duplicates_removed": manifest.near_duplicates_removed,
            "conflicting_labels_removed": manifest.conflicting_labels_removed,
        }
        found = {"digest": table.digest, "labels": table.labels, "rows": counts, **removed}
        print(json.dumps(found))
    else:
        print(
            f"{args.out}: "
            + ", ".join(f"{split} {count}" for split, count in counts.items())
            + f", digest {table.digest[:12]}"
        )
    return 0


def read_files(paths: Sequence[Path], columns: Columns | None = None) -> list[Row]:
    """Reads texts and labels, and where every file has them the columns domain and group (texts of
    one group, such as the sentences of a document, stay in one split).

    Raises:
        DatasetError: See `read_labelled_texts`; or fewer than two labels.
    """
    data = read_labelled_texts(paths, columns)
    if len(set(data.labels)) < 2:
        raise DatasetError(
            f"{origin_of(paths)}: all {len(data.rows)} rows have the label {data.labels[0]!r}; "
            f"two are needed"
        )
    none = [""] * len(data.rows)
    domains = data.column("domain") if "domain" in data.columns else ["all"] * len(none)
    groups = data.column("group") if "group" in data.columns else none
    return [
        Row(text=text.strip(), label=label, target=None, domain=domain or "all", group=group)
        for text, label, domain, group in zip(data.texts, data.labels, domains, groups, strict=True)
    ]


def origin_of(paths: Sequence[Path]) -> str:
    """What the files are called together."""
    return "+".join(path.name for path in paths)


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
    unique, conflicting = without_near_duplicates(stripped)
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
        conflicting_labels_removed=conflicting,
        unlabelled_dropped=len(placed) - len(kept),
        domains=sorted({row.domain for row in kept}),
    )
    write_table(out, table, manifest)
    return table
