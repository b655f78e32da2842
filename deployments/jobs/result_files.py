"""A job's results as a file, made while it is sent: CSV, JSON lines or Parquet."""

import csv
import io
from collections.abc import Iterator
from typing import Any, Literal

import orjson

from deployments.jobs.records import Results, Texts

Format = Literal["csv", "jsonl", "parquet"]
TYPES: dict[str, str] = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
COLUMNS = (
    "index",
    "text",
    "label",
    "score",
    "labels",
    "n_tokens",
    "truncated",
    "model_version",
    "error_code",
    "error_message",
)
# What a spreadsheet takes for the beginning of a formula, or for a field of its own.
_FORMULA = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
Parts = Iterator[tuple[Texts, Results]]


def write(parts: Parts, kind: Format, *, guarded: bool = False) -> Iterator[bytes]:
    """The file's bytes, a piece for each part; rows in the order of the texts.

    Args:
        parts: Texts and results.
        kind: Of the file.
        guarded: Whether texts of a CSV that a spreadsheet takes for formulas get an apostrophe.
    """
    if kind == "parquet":
        yield from _parquet(parts)
    elif kind == "csv":
        yield _lines([dict(zip(COLUMNS, COLUMNS, strict=True))])
        for texts, results in parts:
            rows = _rows(texts, results)
            yield _lines([_guarded(row) for row in rows] if guarded else rows)
    else:
        for texts, results in parts:
            yield b"".join(orjson.dumps(row) + b"\n" for row in _rows(texts, results))


def _rows(texts: Texts, results: Results) -> list[dict[str, Any]]:
    rows = []
    for text, result in zip(texts, results, strict=True):
        found: dict[str, Any] = {**result, "text": text}
        found |= found["prediction"] or {}
        found |= found["error"] or {}
        rows.append({name: found.get(name) for name in COLUMNS})
    return rows


def _guarded(row: dict[str, Any]) -> dict[str, Any]:
    text = row["text"]
    return row | {"text": f"'{text}"} if text and text[0] in _FORMULA else row


def _lines(rows: list[dict[str, Any]]) -> bytes:
    lines = io.StringIO()
    for row in rows:
        if isinstance(row["labels"], list):
            # A label may hold any separator.
            row["labels"] = orjson.dumps(row["labels"]).decode()
    csv.DictWriter(lines, COLUMNS).writerows(rows)
    return lines.getvalue().encode("utf-8")


def _parquet(parts: Parts) -> Iterator[bytes]:
    # 50 MB of memory that only such files need.
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    kinds = dict.fromkeys(COLUMNS, pa.string()) | {
        "index": pa.int64(),
        "score": pa.float64(),
        "labels": pa.list_(pa.string()),
        "n_tokens": pa.int32(),
        "truncated": pa.bool_(),
        "model_version": pa.int32(),
    }
    schema = pa.schema(list(kinds.items()))
    written = _Pieces()
    with pq.ParquetWriter(pa.PythonFile(written, mode="w"), schema) as writer:
        for texts, results in parts:
            writer.write_table(pa.Table.from_pylist(_rows(texts, results), schema))
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
