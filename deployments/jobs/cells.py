"""Fields of CSV and values of cells, the same in results of jobs and in scored files."""

import base64
import csv
import io
from collections.abc import Sequence

import orjson


def fitted(row: Sequence[str], columns: int, separator: str) -> list[str | None]:
    """A row's fields for so many columns: missing ones are None, and what a longer row has
    beyond the header stays in its last column, as CSV of the same separator.
    """
    if len(row) > columns:
        line = io.StringIO(newline="")
        csv.writer(line, delimiter=separator, lineterminator="").writerow(row[columns - 1 :])
        return [*row[: columns - 1], line.getvalue()]
    return [*row, *[None] * (columns - len(row))]


def cell(value: object) -> object:
    """A value of a CSV field: numbers and text as they are, what is nested as JSON."""
    if isinstance(value, dict | list):
        return orjson.dumps(value, default=plain_text).decode("utf-8")
    return plain_text(value) if isinstance(value, bytes) else value


def plain_text(value: object) -> str:
    """What neither JSON nor CSV has: bytes as UTF-8 where they are, else in base64."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return base64.b64encode(value).decode("ascii")


def utf8_text(value: str | None) -> str | None:
    """None for what cannot be UTF-8: lone surrogates, which decoding makes of wrong bytes."""
    if value is None or value.isascii():
        return value
    return None if any("\ud800" <= char <= "\udfff" for char in value) else value
