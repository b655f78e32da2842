"""One part's rows: read with everything that they carry, their texts taken out."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from deployments.jobs.cells import fitted, utf8_text
from deployments.jobs.json_lines import parse_object
from deployments.jobs.records import Kind
from pipelines.scoring.partitions import Partition
from pipelines.scoring.storage import Location

RAW = "row"
"""Column that holds a line of JSON as it was, where the output has columns."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in order.

    Attributes:
        carried: ``[n]`` rows of the input as a table; of JSON lines, each line in column ``RAW``.
        texts: ``[n]``; None where a row has no text.
    """

    carried: pa.Table
    texts: list[str | None]


def read_rows(
    place: Location,
    part: Partition,
    kind: Kind,
    schema: pa.Schema,
    column: str,
    *,
    separator: str = ",",
) -> Rows:
    """Reads one part; what it carries has the given schema. `separator` is that of CSV columns."""
    with place.fs.open_input_file(part.path) as stream:
        if kind == "parquet":
            return _parquet(pq.ParquetFile(stream), part, schema, column)
        content = bytes(stream.read_at(part.stop - part.start, part.start))
    if kind == "csv":
        return _csv(content, schema.names, column, separator)
    return _jsonl(content, column)


def _parquet(file: pq.ParquetFile, part: Partition, schema: pa.Schema, column: str) -> Rows:
    at, pieces = 0, []
    for batch in file.iter_batches(part.rows, row_groups=[part.group]):
        first, last = max(part.start - at, 0), min(part.stop - at, batch.num_rows)
        if first < last:
            pieces.append(batch.slice(first, last - first))
        at += batch.num_rows
        if at >= part.stop:
            break
    table = pa.Table.from_batches(pieces)
    if not table.schema.equals(schema, check_metadata=True):
        table = table.cast(schema)
    values = table.column(column).to_pylist()
    return Rows(table, [value if isinstance(value, str) else None for value in values])


def _csv(content: bytes, header: Sequence[str], column: str, separator: str) -> Rows:
    lines = io.StringIO(content.decode("utf-8", "surrogateescape"), newline="")
    csv.field_size_limit(max(csv.field_size_limit(), len(content)))
    at = list(header).index(column)
    columns: list[list[str | None]] = [[] for _ in header]
    texts: list[str | None] = []
    for row in csv.reader(lines, delimiter=separator):
        # A row of another length is an error; an empty line is such a row. What a longer one has
        # beyond the header stays in its last column.
        texts.append(row[at] if len(row) == len(header) else None)
        for values, field in zip(columns, fitted(row, len(header), separator), strict=True):
            values.append(field)
    arrays = [pa.array([_storable(v) for v in values], pa.string()) for values in columns]
    return Rows(pa.table(arrays, names=list(header)), [utf8_text(text) for text in texts])


def _jsonl(content: bytes, column: str) -> Rows:
    lines, texts = [], []
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        text = (parse_object(line) or {}).get(column)
        lines.append(line.decode("utf-8", "replace").rstrip("\r"))
        texts.append(utf8_text(text) if isinstance(text, str) else None)
    return Rows(pa.table({RAW: pa.array(lines, pa.string())}), texts)


def _storable(value: str | None) -> str | None:
    """A field that Arrow can hold: what was no UTF-8 becomes a replacement character."""
    if value is None or value.isascii():
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
