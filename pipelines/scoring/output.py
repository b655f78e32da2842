"""Scored rows → bytes of a part, and parts → one file, in order and in bounded memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from deployments.jobs.cells import cell, plain_text
from deployments.jobs.json_lines import extend
from deployments.jobs.records import Kind
from pipelines.scoring.rows import RAW
from pipelines.scoring.storage import Location
from registry.records import Head

METADATA = "sentigraph"
# Rows of one row group of a merged Parquet file.
_GROUP_ROWS = 65_536
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of what is added to every row.

    Attributes:
        prefix: Before each of them.
        labels: The model's, in score order.
        head: What its scores mean.
    """

    prefix: str
    labels: tuple[str, ...]
    head: Head = Head()

    @property
    def types(self) -> dict[str, pa.DataType]:
        """Arrow types by name without the prefix, in order."""
        return {
            "label": pa.string(),
            "score": pa.float64(),
            **({"labels": pa.list_(pa.string())} if self.head.task == "multi_label" else {}),
            **{f"score_{label}": pa.float64() for label in self.labels},
            "n_tokens": pa.int32(),
            "truncated": pa.bool_(),
            "error_code": pa.string(),
            "error_message": pa.string(),
        }

    def schema(self, carried: pa.Schema) -> pa.Schema:
        """Of a scored row: what it had, then what is added."""
        added = [pa.field(self.prefix + name, kind) for name, kind in self.types.items()]
        return pa.schema([*carried, *added], carried.metadata)

    @property
    def names(self) -> list[str]:
        """As they are written."""
        return [self.prefix + name for name in self.types]

    def table(self, predictions: Sequence[Mapping[str, object]]) -> pa.Table:
        """Predictions as columns; what a row does not have is null."""
        arrays = [pa.array([row.get(n) for row in predictions], t) for n, t in self.types.items()]
        return pa.table(arrays, names=self.names)


def encode(
    carried: pa.Table,
    predicted: pa.Table,
    kind: Kind,
    facts: Mapping[str, object],
    *,
    heads: bool,
    separator: str = ",",
) -> Iterator[bytes]:
    """The bytes of a part; of CSV with its header where ``heads`` says so, columns separated by
    ``separator``.
    """
    table = carried
    for name in predicted.column_names:
        table = table.append_column(name, predicted.column(name))
    if kind == "parquet":
        sink = io.BytesIO()
        pq.write_table(table.replace_schema_metadata(_metadata(carried.schema, facts)), sink)
        yield sink.getvalue()
    elif kind == "csv":
        if heads:
            yield csv_header(table.column_names, separator)
        lines = io.StringIO(newline="")
        csv.writer(lines, delimiter=separator).writerows(
            [[cell(value) for value in row.values()] for row in table.to_pylist()]
        )
        yield lines.getvalue().encode("utf-8")
    else:
        raw = carried.column_names == [RAW]
        yield b"".join(_json_row(row, raw) + b"\n" for row in table.to_pylist())


def csv_header(names: Sequence[str], separator: str) -> bytes:
    """The first line."""
    lines = io.StringIO(newline="")
    csv.writer(lines, delimiter=separator).writerow(names)
    return lines.getvalue().encode("utf-8")


def merge(
    parts: Iterable[Location],
    target: Location,
    kind: Kind,
    schema: pa.Schema,
    facts: Mapping[str, object],
    *,
    separator: str = ",",
) -> None:
    """Puts parts, or none, together in their order; ``target`` appears when it is complete."""
    if kind == "parquet":
        _merge_parquet(parts, target, schema.with_metadata(_metadata(schema, facts)))
    else:
        header = csv_header(schema.names, separator) if kind == "csv" else b""
        target.write(_pieces(parts, header))


def _pieces(parts: Iterable[Location], header: bytes) -> Iterator[bytes]:
    yield header
    for part in parts:
        with part.fs.open_input_stream(part.path) as stream:
            while piece := stream.read(_COPY_BYTES):
                yield bytes(piece)


def _merge_parquet(parts: Iterable[Location], target: Location, schema: pa.Schema) -> None:
    waiting: list[pa.Table] = []
    written = f"{target.path}.tmp" if target.local else target.path
    with (
        target.fs.open_output_stream(written) as sink,
        pq.ParquetWriter(sink, schema) as writer,
    ):
        for part in parts:
            with part.fs.open_input_file(part.path) as stream:
                waiting.append(pq.read_table(stream).replace_schema_metadata(schema.metadata))
            if sum(map(len, waiting)) >= _GROUP_ROWS:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
    target.settle(written)


def _metadata(schema: pa.Schema, facts: Mapping[str, object]) -> dict[bytes, bytes]:
    return {**(schema.metadata or {}), METADATA.encode(): json.dumps(facts).encode()}


def _json_row(row: dict[str, Any], raw: bool) -> bytes:
    if raw:
        added = {name: value for name, value in row.items() if name != RAW}
        if (line := extend(row[RAW], added)) is not None:
            return line
    return orjson.dumps(row, default=plain_text)
