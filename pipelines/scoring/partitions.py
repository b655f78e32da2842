"""Cuts files into parts of some thousand rows, so that each can be read and scored alone.

One pass over the bytes finds where rows end; nothing is parsed and nothing is kept but the
cuts. Parquet says itself where its rows are. CSV is that of RFC 4180: a line break between
double quotes belongs to its field.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq

from pipelines.errors import ScoreError
from pipelines.scoring.storage import FileInfo, Location

Kind = Literal["csv", "jsonl", "parquet"]
SUFFIXES: dict[str, Kind] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
BOM = b"\xef\xbb\xbf"
_BLOCK_BYTES = 4 << 20
_NEWLINE, _QUOTE = 10, 34
# A row's bytes are held in memory whole; a header too.
_MAX_HEADER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Partition:
    """Some rows in a row of one file.

    Attributes:
        number: From 0, in the order of the rows of all files.
        path: The file, in the input's file system.
        rows: Lines, or rows of Parquet; blank lines of JSON are no rows and count here.
        start: First byte; of Parquet, the first row in its row group.
        stop: Byte after the last one; of Parquet, the row after the last one.
        group: Row group of Parquet.
    """

    number: int
    path: str
    rows: int
    start: int
    stop: int
    group: int = 0


def kind_of(path: str) -> Kind | None:
    """What a file is by its suffix; None when it is none of those that can be read."""
    name = path.lower()
    if compression_of(path):
        name = name.rpartition(".")[0]
    kind = next((k for suffix, k in SUFFIXES.items() if name.endswith(suffix)), None)
    return None if kind == "parquet" and compression_of(path) else kind


def compression_of(path: str) -> str | None:
    """How a file is compressed by its suffix; None when it is not."""
    return next((c for suffix, c in COMPRESSIONS.items() if path.lower().endswith(suffix)), None)


def header_of(place: Location, file: FileInfo, kind: Kind) -> list[str]:
    """Column names of a file; JSON lines have none that are sure.

    Raises:
        ScoreError: It has none that can be read.
    """
    try:
        if kind == "parquet":
            with place.fs.open_input_file(file.path) as stream:
                return list(pq.ParquetFile(stream).schema_arrow.names)
        if kind == "csv":
            compression = compression_of(file.path)
            with place.fs.open_input_stream(file.path, compression=compression) as stream:
                return _first_row(bytes(stream.read(_MAX_HEADER_BYTES)))[0]
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ScoreError(f"{file.path} cannot be read as {kind}: {error}") from error
    return []


def cut(
    place: Location, files: Sequence[FileInfo], kind: Kind, part_rows: int
) -> Iterator[Partition]:
    """All parts of all files, in order.

    Raises:
        ScoreError: A file cannot be read, or its quotes do not match.
    """
    number = 0
    for file in files:
        found = _parquet_cuts if kind == "parquet" else _line_cuts
        try:
            with place.fs.open_input_file(file.path) as stream:
                for rows, start, stop, group in found(stream, file, kind, part_rows):
                    yield Partition(number, file.path, rows, start, stop, group)
                    number += 1
        except (OSError, ValueError, csv.Error) as error:
            raise ScoreError(f"{file.path} cannot be read as {kind}: {error}") from error


Cut = tuple[int, int, int, int]


def _parquet_cuts(stream: Any, file: FileInfo, kind: Kind, part_rows: int) -> Iterator[Cut]:
    metadata = pq.ParquetFile(stream).metadata
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        for start in range(0, rows, part_rows):
            stop = min(rows, start + part_rows)
            yield stop - start, start, stop, group


def _line_cuts(stream: Any, file: FileInfo, kind: Kind, part_rows: int) -> Iterator[Cut]:
    if kind == "csv":
        begin = _first_row(bytes(stream.read_at(min(file.size, _MAX_HEADER_BYTES), 0)))[1]
    else:
        begin = len(BOM) if stream.read_at(min(file.size, len(BOM)), 0) == BOM else 0
    at, start, rows, quoted = begin, begin, 0, 0
    while at < file.size:
        block = np.frombuffer(stream.read_at(min(_BLOCK_BYTES, file.size - at), at), dtype=np.uint8)
        ends = np.flatnonzero(block == _NEWLINE)
        if kind == "csv":
            quotes = np.flatnonzero(block == _QUOTE)
            # Quotes before each line break: an odd number and it is inside a field.
            before = np.searchsorted(quotes, ends) + quoted
            ends = ends[before % 2 == 0]
            quoted += len(quotes)
        taken = 0
        while rows + len(ends) - taken >= part_rows:
            taken += part_rows - rows
            stop = at + int(ends[taken - 1]) + 1
            yield part_rows, start, stop, 0
            start, rows = stop, 0
        rows += len(ends) - taken
        at += len(block)
    if kind == "csv" and quoted % 2:
        raise ScoreError(f"{file.path}: a double quote is never closed")
    if start < file.size:
        last = bytes(stream.read_at(1, file.size - 1))
        yield rows + (last != b"\n"), start, file.size, 0


def _first_row(head: bytes) -> tuple[list[str], int]:
    """A CSV file's header, and where its rows begin."""
    mark = len(BOM) if head.startswith(BOM) else 0
    lines = io.StringIO(head[mark:].decode("utf-8", "surrogateescape"), newline="")
    reader = csv.reader(lines, strict=True)
    header = next(reader, None)
    if header is None:
        raise ValueError("there is no header")
    # Rows were split at line breaks that we count again, in bytes.
    text = io.StringIO(lines.getvalue(), newline="")
    used = "".join(next(text) for _ in range(reader.line_num))
    return header, mark + len(used.encode("utf-8", "surrogateescape"))
