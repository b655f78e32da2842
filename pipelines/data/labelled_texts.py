"""Labelled texts from the files that people have: CSV of any separator, JSON lines, Parquet.

Read by `data`, which makes splits of them, and by `models evaluate`, which measures on them. Every
row keeps its own columns; what a file lacks is said with what it has.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deployments.jobs.csv_header import read_header, separators_of
from deployments.jobs.file_kind import KINDS, compression_of, kind_of
from pipelines.errors import DatasetError

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Columns:
    """Where texts and labels are, and how the file's labels are called by the model.

    Attributes:
        text: Column of the texts.
        label: Column of the labels.
        names: The file's label to the model's; labels that are not named stay as they are.
        separator: Of CSV columns; None finds it.
    """

    text: str = "text"
    label: str = "label"
    names: Mapping[str, str] | None = None
    separator: str | None = None


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """Rows of one or several files, in order.

    Attributes:
        texts: ``[n]``, as they were found.
        labels: ``[n]``, white space removed, renamed by ``Columns.names``.
        rows: ``[n]``, each with the file's own columns.
        columns: Names of the columns that every file has.
    """

    texts: list[str]
    labels: list[str]
    rows: list[Mapping[str, Any]]
    columns: tuple[str, ...]

    def column(self, name: str) -> list[str]:
        """A column as texts, empty where a row has none.

        Raises:
            DatasetError: No file has it.
        """
        if name not in self.columns:
            raise DatasetError(f"no column {name!r}; there are {_listed(self.columns)}")
        return [as_text(row.get(name)) for row in self.rows]


def read_labelled_texts(paths: Sequence[Path], columns: Columns | None = None) -> LabelledTexts:
    """Reads all rows of all files.

    Raises:
        DatasetError: A file cannot be read, lacks a column, has no rows, or has an empty text or
            label.
    """
    wanted = columns or Columns()
    texts: list[str] = []
    labels: list[str] = []
    rows: list[Mapping[str, Any]] = []
    common: list[str] | None = None
    for path in paths:
        found = _read(path, wanted)
        if not found:
            raise DatasetError(f"{path}: no texts in it")
        there = list(dict.fromkeys(key for row in found for key in row))
        missing = [name for name in (wanted.text, wanted.label) if name not in there]
        if missing:
            options = {wanted.text: "--text-column", wanted.label: "--label-column"}
            raise DatasetError(
                f"{path}: no column {' and no column '.join(map(repr, missing))}; it has "
                f"{_listed(there)}; name it with {' and '.join(options[m] for m in missing)}"
            )
        texts += [as_text(row.get(wanted.text)) for row in found]
        labels += [as_text(row.get(wanted.label)).strip() for row in found]
        _refuse_empty(path, wanted.text, texts[len(rows) :])
        _refuse_empty(path, wanted.label, labels[len(rows) :])
        rows += found
        common = there if common is None else [name for name in common if name in there]
    names = wanted.names or {}
    if unused := sorted(names.keys() - set(labels)):
        raise DatasetError(
            f"--map names the label {_listed(unused)}; the labels in the data are "
            f"{_listed(sorted(set(labels)))}"
        )
    labels = [names.get(label, label) for label in labels]
    return LabelledTexts(texts, labels, rows, tuple(common or ()))


def parse_names(text: str) -> dict[str, str]:
    """`0=NEGATIVE,1=POSITIVE` as a mapping.

    Raises:
        DatasetError: It is something else.
    """
    names = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        mine, equals, theirs = (word.strip() for word in part.partition("="))
        if not (mine and equals and theirs) or mine in names:
            raise DatasetError(f"--map {text!r}: {part!r} is not FILE'S=MODEL'S, named once")
        names[mine] = theirs
    return names


def add_column_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares where texts and labels are in a file."""
    parser.add_argument("--text-column", default="text", help="column of the texts (default: text)")
    parser.add_argument(
        "--label-column", default="label", help="column of the labels (default: label)"
    )
    parser.add_argument(
        "--map", default="", metavar="A=B,…", help="the file's labels as the model calls them"
    )
    add_separator_argument(parser)


def add_separator_argument(parser: argparse.ArgumentParser) -> None:
    """Declares what is between the columns of a CSV file."""
    parser.add_argument("--separator", type=_separator, help="of CSV columns (default: found)")


def _separator(given: str) -> str:
    # Shells hand a tab on as it is typed.
    character = {"\\t": "\t", "tab": "\t"}.get(given, given)
    if len(character) != 1 or character in '"\r\n':
        raise argparse.ArgumentTypeError(f"{given!r} is not one character; a tab is '\\t'")
    return character


def columns_of(args: argparse.Namespace) -> Columns:
    """What the options of ``add_column_arguments`` say."""
    return Columns(args.text_column, args.label_column, parse_names(args.map), args.separator)


def as_text(value: object) -> str:
    """A cell as text: whole numbers without a fraction, nothing as an empty text."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else str(value)


def _read(path: Path, columns: Columns) -> list[Mapping[str, Any]]:
    kind = kind_of(path.name)
    reader: Callable[[Path], list[Mapping[str, Any]]]
    if kind == "csv":
        separators = columns.separator or separators_of(path.name)
        reader = lambda path: _read_csv(path, separators, columns.text)  # noqa: E731
    elif kind == "jsonl":
        reader = _read_jsonl
    elif kind == "parquet":
        reader = _read_parquet
    else:
        raise DatasetError(f"{path}: not a file that ends in {KINDS}")
    try:
        return reader(path)
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path}: not UTF-8 (byte {error.object[error.start]:#04x} at {error.start}); "
            f"save it as UTF-8"
        ) from error
    except (OSError, pa.ArrowException, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from error


def _content(path: Path) -> str:
    with pa.input_stream(path, compression=compression_of(path.name)) as stream:
        return bytes(stream.read()).decode("utf-8-sig")


def _read_csv(path: Path, separators: str, text_column: str) -> list[Mapping[str, Any]]:
    content = _content(path)
    csv.field_size_limit(max(csv.field_size_limit(), len(content)))
    found, rest = read_header(iter(io.StringIO(content, newline="")), separators, text_column)
    header, separator = found.names, found.separator
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise DatasetError(f"{path}: more than one column named {_listed(twice)}; rename them")
    reader = csv.reader(rest, delimiter=separator)
    rows: list[Mapping[str, Any]] = []
    for fields in reader:
        if not fields:
            continue
        if len(fields) != len(header):
            raise DatasetError(
                f"{path}: line {found.lines + reader.line_num} has {len(fields)} columns, "
                f"the header {len(header)} (separator {separator!r})"
            )
        rows.append(dict(zip(header, fields, strict=True)))
    return rows


def _read_jsonl(path: Path) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    for number, line in enumerate(_content(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DatasetError(f"{path}: line {number} is no JSON: {error}") from error
        if not isinstance(row, dict):
            raise DatasetError(f"{path}: line {number} is no JSON object")
        rows.append(row)
    return rows


def _read_parquet(path: Path) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def _refuse_empty(path: Path, column: str, values: Sequence[str]) -> None:
    empty = [number for number, value in enumerate(values, start=1) if not value.strip()]
    if empty:
        raise DatasetError(
            f"{path}: {len(empty)} rows have an empty {column}, first row {empty[0]}"
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(str, names[:_SHOWN])) + more
