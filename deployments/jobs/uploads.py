"""A file of texts, read in bounded memory: CSV, JSON lines or Parquet → texts in order.

Nothing of a file is trusted but its bytes' number. A row without a text gives None, so that
rows keep their numbers; a text longer than allowed is cut just above the limit, which is
enough for it to be refused, and no more is stored.
"""

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO, Literal

import orjson

from deployments.errors import JobRefused

Kind = Literal["csv", "jsonl", "parquet"]
_SUFFIXES: dict[str, Kind] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
# Rows of a Parquet file that are decoded at once.
_ROWS = 1_024
# A line may be a text that is too long, and fields beside it.
_LINE_CHARS_PER_TEXT_CHAR = 16


def kind_of(filename: str) -> Kind:
    """What a file is, by the end of its name.

    Raises:
        JobRefused: Another one.
    """
    for suffix, kind in _SUFFIXES.items():
        if filename.lower().endswith(suffix):
            return kind
    raise JobRefused(f"the file's name must end in {', '.join(_SUFFIXES)}", {"field": "file"})


def read_texts(
    file: BinaryIO, kind: Kind, column: str, max_chars: int, max_bytes: int
) -> Iterator[str | None]:
    """The texts of a file, one for each row.

    Args:
        file: From its start; seekable.
        kind: See ``kind_of``.
        column: Field or column of the text.
        max_chars: Longer texts are cut to one character more.
        max_bytes: What a Parquet row group's column may unpack to.

    Raises:
        JobRefused: It is not such a file, or has no such column.
    """
    try:
        if kind == "parquet":
            texts = _parquet(file, column, max_bytes)
        elif kind == "csv":
            texts = _csv(file, column, max_chars)
        else:
            texts = _jsonl(file, column, max_chars)
        for text in texts:
            yield text[: max_chars + 1] if isinstance(text, str) else None
    except UnicodeDecodeError as error:
        raise JobRefused("the file is not UTF-8", {"field": "file"}) from error


def _csv(file: BinaryIO, column: str, max_chars: int) -> Iterator[object]:
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    csv.field_size_limit(max(131_072, max_chars * _LINE_CHARS_PER_TEXT_CHAR))
    try:
        rows = csv.reader(lines, strict=True)
        header = next(rows, [])
        if column not in header:
            raise _no_column(column, header)
        at = header.index(column)
        for row in rows:
            if row:
                yield row[at] if len(row) == len(header) else None
    except csv.Error as error:
        raise JobRefused(f"the file is no CSV: {error}", {"field": "file"}) from error
    finally:
        lines.detach()


def _jsonl(file: BinaryIO, column: str, max_chars: int) -> Iterator[object]:
    most = max(131_072, max_chars * _LINE_CHARS_PER_TEXT_CHAR)
    number = 0
    while line := file.readline(most + 1):
        number += 1
        if len(line) > most:
            raise JobRefused(f"line {number} has more than {most} bytes", {"field": "file"})
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            row = None
        yield row.get(column) if isinstance(row, dict) else None


def _parquet(file: BinaryIO, column: str, max_bytes: int) -> Iterator[object]:
    # 50 MB of memory that only such files need.
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        parquet = pq.ParquetFile(file, read_dictionary=[column])
        names = parquet.schema_arrow.names
        if column not in names:
            raise _no_column(column, names)
        _check_sizes(parquet.metadata, column, max_bytes)
        for batch in parquet.iter_batches(_ROWS, columns=[column]):
            # One value at a time: a dictionary may stand for far more than it takes.
            for value in batch.column(0):
                yield value.as_py()
    except pa.ArrowException as error:
        raise JobRefused("the file is no Parquet that can be read", {"field": "file"}) from error


def _check_sizes(metadata: object, column: str, max_bytes: int) -> None:
    groups = range(metadata.num_row_groups)  # type: ignore[attr-defined]
    for group in (metadata.row_group(number) for number in groups):  # type: ignore[attr-defined]
        for chunk in (group.column(number) for number in range(group.num_columns)):
            if chunk.path_in_schema == column and chunk.total_uncompressed_size > max_bytes:
                raise JobRefused(
                    f"a row group unpacks to more than {max_bytes} bytes: write smaller ones",
                    {"field": "file", "max_bytes": max_bytes},
                )


def _no_column(column: str, names: list[str]) -> JobRefused:
    shown = ", ".join(name[:50] for name in names[:10])
    return JobRefused(f"no column {column[:50]!r}; there is: {shown}", {"field": "text_column"})
