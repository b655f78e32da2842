"""Reads a Parquet file's texts in a process of its own, whose memory and time are bounded.

Nothing that a file says of its sizes can be relied on: a page of a few kilobytes may unpack to
gigabytes, whatever its footer says, and the reader is native code, so it runs where it may die
alone. ``input_files.py`` runs it as a program, with the file as its input; it writes one line of
JSON for each row, a text or null, and at the end an object: what was wrong, or nothing. Without
that object it has died, or its memory was not enough. It imports nothing of ours.
"""

import json
import resource
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Rows that are decoded at once.
_ROWS = 1_024
_CPU_S = 120
_FOOTER_STRING_BYTES = 1 << 20
_FOOTER_ITEMS = 100_000
_SHOWN_COLUMNS, _SHOWN_CHARS = 10, 50
_UNREADABLE = {"message": "the file is no Parquet that can be read", "field": "file"}


def _bound(memory_bytes: int) -> None:
    """No more address space than now and ``memory_bytes``, and no more time than ``_CPU_S``."""
    pa.set_memory_pool(pa.system_memory_pool())
    pa.set_cpu_count(1)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))


def _write(column: str, max_chars: int, max_bytes: int) -> dict[str, str]:
    """Writes all texts, those that are too long cut to one character more; what was wrong."""
    parquet = pq.ParquetFile(
        sys.stdin.buffer,
        pre_buffer=False,
        thrift_string_size_limit=_FOOTER_STRING_BYTES,
        thrift_container_size_limit=_FOOTER_ITEMS,
    )
    names = parquet.schema_arrow.names
    if column not in names:
        shown = ", ".join(name[:_SHOWN_CHARS] for name in names[:_SHOWN_COLUMNS])
        message = f"no column {column[:_SHOWN_CHARS]!r}; there is: {shown}"
        return {"message": message, "field": "text_column"}
    if _largest(parquet.metadata, column) > max_bytes:
        message = f"a row group unpacks to more than {max_bytes} bytes: write smaller ones"
        return {"message": message, "field": "file"}
    for batch in parquet.iter_batches(_ROWS, columns=[column], use_threads=False):
        for value in batch.column(0):
            text = value.as_py()
            cut = text[: max_chars + 1] if isinstance(text, str) else None
            sys.stdout.write(json.dumps(cut) + "\n")
    return {}


def _largest(metadata: pq.FileMetaData, column: str) -> int:
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    chunks = (group.column(number) for group in groups for number in range(group.num_columns))
    sizes = (c.total_uncompressed_size for c in chunks if c.path_in_schema == column)
    return max(sizes, default=0)


def main() -> None:
    """``parquet_child.py COLUMN MAX_CHARS MAX_BYTES MEMORY_BYTES < FILE``."""
    column, max_chars, max_bytes, memory_bytes = sys.argv[1], *map(int, sys.argv[2:])
    _bound(memory_bytes)
    try:
        wrong = _write(column, max_chars, max_bytes)
    except MemoryError:
        sys.exit(1)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        wrong = _UNREADABLE
    sys.stdout.write(json.dumps(wrong) + "\n")


if __name__ == "__main__":
    main()
