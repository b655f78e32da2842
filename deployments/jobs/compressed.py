"""Unpacks a file while it is read, and no more of it than is allowed."""

import io
from typing import Any, BinaryIO

from deployments.jobs.errors import JobRefused

_BLOCK_BYTES = 1 << 16


class Unpacked(io.RawIOBase):
    """The bytes of a compressed file.

    Reading raises:
        JobRefused: They are more than allowed, cut off, or not compressed so.
    """

    def __init__(self, file: BinaryIO, compression: str, max_bytes: int) -> None:
        """Args: the packed file, how it is packed, and the bytes that it may unpack to."""
        import pyarrow as pa  # noqa: PLC0415  (50 MB of memory that only such files need)

        super().__init__()
        self._file = file  # else it would be closed with the stream
        self._stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), compression)
        self._compression = compression
        self._max_bytes = max_bytes
        self._left = max_bytes

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, into: Any) -> int:
        """Fills a part of ``into``; returns how much of it, 0 at the end."""
        try:
            block = self._stream.read(min(len(into), _BLOCK_BYTES))
        except OSError as error:
            raise JobRefused(
                f"the file is no whole {self._compression}", {"field": "file"}
            ) from error
        self._left -= len(block)
        if self._left < 0:
            raise JobRefused(
                f"the file unpacks to more than {self._max_bytes} bytes",
                {"field": "file", "max_bytes": self._max_bytes},
            )
        into[: len(block)] = block
        return len(block)
