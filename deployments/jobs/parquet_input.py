"""A Parquet file's rows, read by a process of its own, which alone dies of a hostile file."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

import orjson

from deployments.errors import BatchTooLarge
from deployments.jobs.errors import JobRefused
from deployments.jobs.records import Part

_CHILD = Path(__file__).with_name("parquet_child.py")
# What reading takes beside what is unpacked.
_MEMORY_BYTES = 64 << 20
# A character of JSON, and what a footer may say of columns.
_BYTES_PER_CHAR, _HEADER_BYTES = 12, 16 << 20
Header = tuple[list[str], str]
"""Names of the columns, and the schema in base64."""


def read_parquet(
    file: BinaryIO,
    column: str,
    chunk_texts: int,
    *,
    max_chars: int,
    max_bytes: int,
    max_part_bytes: int,
) -> Iterator[Header | Part]:
    """The columns, then the rows in chunks; see ``InputFile``.

    Raises:
        JobRefused: It is no Parquet, has no such column, or cannot be read within the bounds.
        BatchTooLarge: A chunk has more bytes than one may have.
    """
    number = file.fileno()  # a spooled file is written out for it
    file.flush()
    file.seek(0)
    bounds = (chunk_texts, max_chars, max_bytes, 2 * max_bytes + _MEMORY_BYTES)
    command = [sys.executable, "-I", str(_CHILD), column, *map(str, bounds)]
    most = chunk_texts * (max_chars * _BYTES_PER_CHAR + 1_024) + _HEADER_BYTES
    child = subprocess.Popen(  # noqa: S603  (our own command line; the column is an argument)
        command, stdin=number, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with child:
        assert child.stdout is not None
        try:
            while line := child.stdout.readline(most):
                told = orjson.loads(line)
                if "message" in told:
                    raise JobRefused(told["message"], {"field": told["field"]})
                if "columns" in told:
                    yield told["columns"], told["schema"]
                elif "texts" not in told:
                    return
                elif (rows := _rows(child.stdout, told["bytes"], max_part_bytes)) is not None:
                    yield Part(told["texts"], rows)
        finally:
            child.kill()
    raise JobRefused(
        f"the file cannot be read in the memory and time that a file may take; a row group may "
        f"unpack to {max_bytes} bytes",
        {"field": "file", "max_bytes": max_bytes},
    )


def _rows(pipe: IO[bytes], size: int, most: int) -> bytes | None:
    """So many bytes; None where the child died before it wrote them."""
    if size > most:
        raise BatchTooLarge(
            f"texts of more than the {most} bytes that one job may have", {"max_job_bytes": most}
        )
    found = pipe.read(size)
    return found if len(found) == size else None
