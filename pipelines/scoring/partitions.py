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
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from deployments.jobs.csv_header import CsvHeader, read_header
from deployments.jobs.file_kind import compression_of
from deployments.jobs.records import Kind
from pipelines.errors import ScoreError
from pipelines.scoring.storage import FileInfo, Location

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


def csv_header_of(place: Location, file: FileInfo, separators: str, column: str) -> CsvHeader:
    """The column names of a CSV file, and which of the separators it has.

    Raises:
        ScoreError: It has none that can be read.
    """
    try:
        compression = compression_of(file.path)
        with place.fs.open_input_stream(file.path, compression=compression) as stream:
            return _first_row(bytes(stream.read(_MAX_HEADER_BYTES)), separators, column)[0]
    except UnicodeError as error:
        raise ScoreError(
            f"{file.path}: the names of its columns are not UTF-8; save it as UTF-8"
        ) from error
    except (OSError, csv.Error, ValueError) as error:
        raise ScoreError(f"{file.path} cannot be read as csv: {error}") from error


def parquet_header_of(place: Location, file: FileInfo) -> list[str]:
    """The column names of a Parquet file.

    Raises:
        ScoreError: It cannot be read.
    """
    try:
        with place.fs.open_input_file(file.path) as stream:
            return list(pq.ParquetFile(stream).schema_arrow.names)
    except (OSError, ValueError) as error:
        raise ScoreError(f"{file.path} cannot be read as parquet: {error}") from error


def cut(
    place: Location,
    files: Sequence[FileInfo],
    kind: Kind,
    part_rows: int,
    separator: str = ",",
) -> Iterator[Partition]:
    """All parts of all files, in order; `separator` is that of CSV columns.

    Raises:
        ScoreError: A file cannot be read, or its quotes do not match.
    """
    number = 0
    for file in files:
        try:
            with place.fs.open_input_file(file.path) as stream:
                found = (
                    _parquet_cuts(stream, part_rows)
                    if kind == "parquet"
                    else _line_cuts(stream, file, kind, part_rows, separator)
                )
                for rows, start, stop, group in found:
                    yield Partition(number, file.path, rows, start, stop, group)
                    number += 1
        except (OSError, ValueError, csv.Error) as error:
            raise ScoreError(f"{file.path} cannot be read as {kind}: {error}") from error


Cut = tuple[int, int, int, int]


def _parquet_cuts(stream: Any, part_rows: int) -> Iterator[Cut]:
    metadata = pq.ParquetFile(stream).metadata
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        for start in range(0, rows, part_rows):
            stop = min(rows, start + part_rows)
            yield stop - start, start, stop, group


def _line_cuts(
    stream: Any, file: FileInfo, kind: Kind, part_rows: int, separator: str
) -> Iterator[Cut]:
    if kind == "csv":
        head = bytes(stream.read_at(min(file.size, _MAX_HEADER_BYTES), 0))
        begin = _first_row(head, separator, "")[1]
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


def _first_row(head: bytes, separators: str, column: str) -> tuple[CsvHeader, int]:
    """A CSV file's header, and the byte where its rows begin."""
    mark = len(BOM) if head.startswith(BOM) else 0
    text = head[mark:].decode("utf-8", "surrogateescape")
    header, _ = read_header(io.StringIO(text, newline=""), separators, column)
    if not header.names:
        raise ValueError("there is no header")
    "".join(header.names).encode("utf-8")
    # Rows were split at line breaks that we count again, in bytes.
    lines = io.StringIO(text, newline="")
    used = "".join(next(lines) for _ in range(header.lines))
    return header, mark + len(used.encode("utf-8", "surrogateescape"))
