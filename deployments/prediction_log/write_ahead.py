"""Write-ahead files: rows on a local disk, until they are stored as Parquet.

A process locks the file that it writes, and the lock ends with the process. So a file that can
be locked has lost its writer, and the process that locks it stores it.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

_ENDING = ".jsonl"


class Segment:
    """One write-ahead file that this process holds. Not thread-safe."""

    def __init__(self, path: Path, descriptor: int, rows: int = 0) -> None:
        self.path = path
        self.rows = rows
        self._descriptor = descriptor

    @classmethod
    def create(cls, folder: Path, name: str) -> "Segment":
        """Creates an empty file."""
        path = folder / f"{name}{_ENDING}"
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return cls(path, descriptor)

    @classmethod
    def adopt(cls, path: Path) -> "Segment | None":
        """Takes a file without its incomplete last line; None if its writer is alive."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        content = path.read_bytes() if path.exists() else b""
        whole = content.rfind(b"\n") + 1
        os.ftruncate(descriptor, whole)
        return cls(path, descriptor, content[:whole].count(b"\n"))

    @property
    def name(self) -> str:
        """The name of the rows; the same in every process."""
        return self.path.name.removesuffix(_ENDING)

    def append(self, lines: list[bytes]) -> int:
        """Adds rows and syncs them to the disk.

        Returns:
            Bytes written.
        """
        content = b"".join(lines)
        written = 0
        while written < len(content):
            written += os.write(self._descriptor, content[written:])
        os.fdatasync(self._descriptor)
        self.rows += len(lines)
        return written

    def read(self) -> bytes:
        """All rows."""
        return self.path.read_bytes()

    def remove(self) -> None:
        """Deletes the file, once its rows are stored."""
        self.path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Unlocks the file, so that another process can take it."""
        os.close(self._descriptor)


def orphans(folder: Path) -> Iterator[Segment]:
    """Takes the files without a writer, oldest first."""
    for path in sorted(folder.glob(f"*{_ENDING}"), key=lambda path: path.name):
        segment = Segment.adopt(path)
        if segment is not None:
            yield segment


def size_bytes(folder: Path) -> int:
    """Bytes of all files in the folder, of all processes."""
    total = 0
    for path in folder.glob(f"*{_ENDING}"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total
