"""A file of texts, read in bounded memory: CSV, JSON lines or Parquet → texts in order.

Nothing of a file is trusted but its bytes' number. A row without a text gives None, so that
rows keep their numbers; a text longer than allowed is cut just above the limit, which is
enough for it to be refused, and no more is stored.
"""

import codecs
import csv
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import orjson

from deployments.jobs.errors import JobRefused

Kind = Literal["csv", "jsonl", "parquet"]
_SUFFIXES: dict[str, Kind] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_CHILD = Path(__file__).with_name("parquet_child.py")
# What reading takes beside what is unpacked.
_MEMORY_BYTES = 64 << 20
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
        file: From its start; one that the system knows, or that can be written out.
        kind: See ``kind_of``.
        column: Field or column of the text.
        max_chars: Longer texts are cut to one character more.
        max_bytes: What a Parquet row group's column may unpack to; twice of it is the memory
            that reading one may take.

    Raises:
        JobRefused: It is not such a file, or has no such column.
    """
    try:
        if kind == "parquet":
            texts = _parquet(file, column, max_chars, max_bytes)
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
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            row = None
        yield row.get(column) if isinstance(row, dict) else None


def _parquet(file: BinaryIO, column: str, max_chars: int, max_bytes: int) -> Iterator[object]:
    """Read by a process of its own, which alone dies of a file that is made to kill its reader."""
    number = file.fileno()  # a spooled file is written out for it
    file.flush()
    file.seek(0)
    bounds = (max_chars, max_bytes, 2 * max_bytes + _MEMORY_BYTES)
    command = [sys.executable, "-I", str(_CHILD), column, *map(str, bounds)]
    most = max_chars * _LINE_CHARS_PER_TEXT_CHAR + 1_024
    child = subprocess.Popen(  # noqa: S603  (our own command line; the column is an argument)
        command, stdin=number, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with child:
        assert child.stdout is not None
        try:
            while line := child.stdout.readline(most):
                row = orjson.loads(line)
                if isinstance(row, dict):
                    if row:
                        raise JobRefused(row["message"], {"field": row["field"]})
                    return
                yield row
        finally:
            child.kill()
    raise JobRefused(
        f"the file cannot be read in the memory and time that a file may take; a row group may "
        f"unpack to {max_bytes} bytes",
        {"field": "file", "max_bytes": max_bytes},
    )


def _no_column(column: str, names: list[str]) -> JobRefused:
    shown = ", ".join(name[:50] for name in names[:10])
    return JobRefused(f"no column {column[:50]!r}; there is: {shown}", {"field": "text_column"})
