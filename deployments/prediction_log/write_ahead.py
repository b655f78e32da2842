"""Write-ahead files: rows that are promised, on a local disk, until they are Parquet.

A file is locked by the process that writes it, and the lock ends with the process. So a file
that can be locked is one whose writer is gone, and whoever finds it finishes it.
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
        """A new, empty one."""
        path = folder / f"{name}{_ENDING}"
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return cls(path, descriptor)

    @classmethod
    def adopt(cls, path: Path) -> "Segment | None":
        """One whose writer is gone, or None; a line that was cut off is removed."""
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
        """The same for the same rows, in whatever process."""
        return self.path.name.removesuffix(_ENDING)

    def append(self, lines: list[bytes]) -> int:
        """Adds rows; when it returns they outlive the process and the machine's power.

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
        """The rows are elsewhere."""
        self.path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Lets others have it."""
        os.close(self._descriptor)


def orphans(folder: Path) -> Iterator[Segment]:
    """Files whose writers are gone, oldest first; they are this process's from now on."""
    for path in sorted(folder.glob(f"*{_ENDING}"), key=lambda path: path.name):
        segment = Segment.adopt(path)
        if segment is not None:
            yield segment


def size_bytes(folder: Path) -> int:
    """Bytes of all files in the folder, of whatever process."""
    total = 0
    for path in folder.glob(f"*{_ENDING}"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total
