"""A job's results as a file, made while it is sent: CSV, JSON lines or Parquet.

Each row has what it came with, or its text, then what is added.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import orjson

from deployments.jobs.cells import cell, plain_text
from deployments.jobs.columns import added_names, added_values
from deployments.jobs.json_lines import extend
from deployments.jobs.own_columns import RAW, OwnColumns
from deployments.jobs.records import Carried, ScoredPart

Format = Literal["csv", "jsonl", "parquet"]
TYPES: dict[str, str] = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
# What a spreadsheet takes for the beginning of a formula, or for a field of its own.
_FORMULA = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
Parts = Iterator[ScoredPart]


class ResultFile:
    """The rows of one job as a file."""

    def __init__(
        self, carried: Carried | None, labels: Sequence[str], *, guarded: bool = False
    ) -> None:
        """Reads nothing yet.

        Args:
            carried: What the rows came with; None of a job of texts.
            labels: All that the results have scores for.
            guarded: Whether own texts of a CSV that a spreadsheet takes for formulas get an
                apostrophe.
        """
        self._own = OwnColumns(carried)
        self._labels = labels
        self._prefix = carried.prefix if carried else ""
        self._added = [self._prefix + name for name in added_names(labels)]
        self._guarded = guarded
        self._separator = carried.separator if carried else ","

    def write(self, parts: Parts, kind: Format) -> Iterator[bytes]:
        """The file's bytes, a piece for each part; rows in the order of the texts.

        CSV has the separator of the uploaded CSV, or commas.
        """
        if kind == "parquet":
            yield from self._parquet(parts)
        elif kind == "csv":
            yield self._csv([self._guard(self._own.names) + self._added])
            for part in parts:
                both = zip(self._own.rows(part), self._values(part), strict=True)
                yield self._csv([self._guard(own) + added for own, added in both])
        else:
            for part in parts:
                yield b"".join(line + b"\n" for line in self._jsonl(part))

    def _values(self, part: ScoredPart) -> list[list[Any]]:
        return [added_values(result, self._labels) for result in part.results]

    def _guard(self, row: Sequence[Any]) -> list[Any]:
        if not self._guarded:
            return list(row)
        return [f"'{v}" if isinstance(v, str) and v[:1] and v[0] in _FORMULA else v for v in row]

    def _csv(self, rows: list[list[Any]]) -> bytes:
        lines = io.StringIO(newline="")
        writer = csv.writer(lines, delimiter=self._separator)
        writer.writerows([[cell(value) for value in row] for row in rows])
        return lines.getvalue().encode("utf-8")

    def _jsonl(self, part: ScoredPart) -> Iterator[bytes]:
        added = [dict(zip(self._added, values, strict=True)) for values in self._values(part)]
        if (lines := self._own.lines(part)) is not None:
            for line, more in zip(lines, added, strict=True):
                yield extend(line, more) or orjson.dumps({RAW: line} | more)
            return
        names = self._own.names
        for own, more in zip(self._own.rows(part), added, strict=True):
            row = dict(zip(names, own, strict=True)) | more
            yield orjson.dumps(row, default=plain_text)

    def _parquet(self, parts: Parts) -> Iterator[bytes]:
        import pyarrow as pa  # noqa: PLC0415  (50 MB of memory that only such files need)
        import pyarrow.parquet as pq  # noqa: PLC0415

        kinds = dict.fromkeys(added_names(self._labels), pa.string()) | {
            "index": pa.int64(),
            "score": pa.float64(),
            "labels": pa.list_(pa.string()),
            **{f"score_{label}": pa.float64() for label in self._labels},
            "n_tokens": pa.int32(),
            "truncated": pa.bool_(),
            "model_version": pa.int32(),
        }
        own = self._own.schema
        fields = [*own, *(pa.field(self._prefix + name, kind) for name, kind in kinds.items())]
        schema = pa.schema(fields, own.metadata)
        written = _Pieces()
        with pq.ParquetWriter(pa.PythonFile(written, mode="w"), schema) as writer:
            for part in parts:
                columns = list(zip(*self._values(part), strict=True))
                arrays = [*self._own.table(part).columns, *map(pa.array, columns, kinds.values())]
                writer.write_table(pa.table(arrays, schema=schema))
                yield written.take()
        yield written.take()


class _Pieces(io.RawIOBase):
    """A file that is written once and handed on piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces += piece
        return len(piece)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = bytes(self._pieces)
        self._pieces.clear()
        return taken
