"""Reads a Parquet file's rows in a process of its own, whose memory and time are bounded.

Nothing that a file says of its sizes can be relied on: a page of a few kilobytes may unpack to
gigabytes, whatever its footer says, and the reader is native code, so it runs where it may die
alone. ``parquet_input.py`` runs it as a program, with the file as its input. It writes lines of
JSON: the columns; then for each chunk its texts, null where a row has none, with the number of
bytes of Arrow's stream of its rows, which follow; at the end an object: what was wrong, or nothing.
Without that it has died, or its memory was not enough. It imports nothing of ours.
"""

import base64
import io
import json
import resource
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Rows that are decoded at once, at most.
_ROWS = 1_024
_CPU_S = 120
_FOOTER_STRING_BYTES = 1 << 20
_FOOTER_ITEMS = 100_000
_UNREADABLE = {"message": "the file is no Parquet that can be read", "field": "file"}


def _bound(memory_bytes: int) -> None:
    """No more address space than now and ``memory_bytes``, and no more time than ``_CPU_S``."""
    pa.set_memory_pool(pa.system_memory_pool())
    pa.set_cpu_count(1)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))


def _write(column: str, chunk: int, max_chars: int, max_bytes: int) -> dict[str, str]:
    """Writes all rows; texts that are too long are cut to one character more. What was wrong."""
    parquet = pq.ParquetFile(
        sys.stdin.buffer,
        pre_buffer=False,
        thrift_string_size_limit=_FOOTER_STRING_BYTES,
        thrift_container_size_limit=_FOOTER_ITEMS,
    )
    schema = parquet.schema_arrow
    if _largest(parquet.metadata) > max_bytes:
        message = f"a row group unpacks to more than {max_bytes} bytes: write smaller ones"
        return {"message": message, "field": "file"}
    shown = base64.b64encode(schema.serialize()).decode("ascii")
    _say({"columns": schema.names, "schema": shown})
    if schema.names.count(column) != 1:
        return {}  # the reader refuses it by its columns
    for rows in _chunks(parquet, schema, chunk):
        values = (value.as_py() for value in rows.column(column))
        texts = [v[: max_chars + 1] if isinstance(v, str) else None for v in values]
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, schema) as stream:
            stream.write_table(rows)
        _say({"texts": texts, "bytes": sink.tell()})
        sys.stdout.buffer.write(sink.getbuffer())
    return {}


def _chunks(parquet: pq.ParquetFile, schema: pa.Schema, size: int) -> Iterator[pa.Table]:
    """All rows in tables of ``size``; batches end where row groups do."""
    waiting: list[pa.Table] = []
    for batch in parquet.iter_batches(min(_ROWS, size), use_threads=False):
        waiting.append(pa.Table.from_batches([batch]))
        while sum(map(len, waiting)) >= size:
            rows = pa.concat_tables(waiting)
            yield _own(rows.slice(0, size), schema)
            waiting = [rows.slice(size)] if len(rows) > size else []
    if waiting:
        yield _own(pa.concat_tables(waiting), schema)


def _own(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows without what others need: a slice of a dictionary has all of its values."""
    columns = [
        column.cast(field.type.value_type).combine_chunks().cast(field.type)
        if pa.types.is_dictionary(field.type)
        else column
        for column, field in zip(rows.columns, schema, strict=True)
    ]
    return pa.table(columns, schema=schema)


def _say(told: Mapping[str, object]) -> None:
    sys.stdout.buffer.write(json.dumps(told).encode("ascii") + b"\n")


def _largest(metadata: pq.FileMetaData) -> int:
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    chunks = (group.column(number) for group in groups for number in range(group.num_columns))
    return max((c.total_uncompressed_size for c in chunks), default=0)


def main() -> None:
    """``parquet_child.py COLUMN CHUNK MAX_CHARS MAX_BYTES MEMORY_BYTES < FILE``."""
    column, chunk, max_chars, max_bytes, memory_bytes = sys.argv[1], *map(int, sys.argv[2:])
    _bound(memory_bytes)
    try:
        wrong = _write(column, chunk, max_chars, max_bytes)
    except MemoryError:
        sys.exit(1)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        wrong = _UNREADABLE
    _say(wrong)


if __name__ == "__main__":
    main()
