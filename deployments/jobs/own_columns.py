"""What the rows of results have beside their predictions: the uploaded file's own columns.

Lines of JSON are kept as lines, fields of CSV as texts, rows of Parquet with their types; a job
of texts has the texts. pyarrow takes 50 MB of memory that only Parquet needs.
"""

import base64
from typing import TYPE_CHECKING, Any

import orjson

from deployments.jobs.records import Carried, ScoredPart

if TYPE_CHECKING:
    import pyarrow as pa

RAW = "row"
"""Column that holds a line of JSON as it was, where a file has columns."""


class OwnColumns:
    """Own columns of the rows of one job."""

    def __init__(self, carried: Carried | None) -> None:
        self._carried = carried

    @property
    def names(self) -> list[str]:
        """In order, where a file has columns."""
        if self._carried is None:
            return ["text"]
        return ["text", RAW] if self._carried.kind == "jsonl" else list(self._carried.columns)

    @property
    def schema(self) -> "pa.Schema":
        """Types of the columns."""
        import pyarrow as pa  # noqa: PLC0415

        if self._carried is not None and self._carried.kind == "parquet":
            return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self._carried.schema)))
        return pa.schema([(name, pa.string()) for name in self.names])

    def lines(self, part: ScoredPart) -> list[str] | None:
        """Lines of JSON as they came; None where the file was another one."""
        if self._carried is None or self._carried.kind != "jsonl":
            return None
        found: list[str] = orjson.loads(part.rows)
        return found

    def rows(self, part: ScoredPart) -> list[list[Any]]:
        """Values of each row, in the order of ``names``."""
        if (lines := self.lines(part)) is not None:
            return [[text, line] for text, line in zip(part.texts, lines, strict=True)]
        if self._carried is None:
            return [[text] for text in part.texts]
        if self._carried.kind == "parquet":
            columns = [column.to_pylist() for column in self.table(part).columns]
            return [list(row) for row in zip(*columns, strict=True)]
        fields: list[list[Any]] = orjson.loads(part.rows)
        return fields

    def table(self, part: ScoredPart) -> "pa.Table":
        """The rows with ``schema``."""
        import pyarrow as pa  # noqa: PLC0415

        if self._carried is not None and self._carried.kind == "parquet":
            return pa.ipc.open_stream(part.rows).read_all()
        columns = zip(*self.rows(part), strict=True)
        arrays = [pa.array(column, pa.string()) for column in columns]
        return pa.table(arrays, schema=self.schema)
