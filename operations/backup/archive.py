"""The file of a backup: a tar of plain files, the last of which lists the others' SHA-256.

Written beside its place, flushed, then renamed: there is never half a backup under its name.
"""

import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from operations.errors import OperationError

MANIFEST = "manifest.json"
_FORMAT = 1
_CHUNK = 1 << 20


class BackupUnusable(OperationError):
    """The file is no backup, is not whole, or cannot be restored here."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds.

    Attributes:
        made_at: When, in UTC.
        release: Of sentigraph that made it.
        artifact_uri: Of the artifacts' folder, as the registry's rows name it.
        dead_letters: The offset that the last full redrive ended at, by partition.
        files: SHA-256 by name.
        format: Of this list.
    """

    made_at: str
    release: str
    artifact_uri: str = ""
    dead_letters: dict[str, int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    format: int = _FORMAT


class Writer:
    """Adds files; ``files`` has their digests as they were read."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.files: dict[str, str] = {}

    def add_file(self, name: str, path: Path) -> None:
        """Adds a file as it is now.

        Raises:
            OSError: It cannot be read, or it became shorter meanwhile.
        """
        with path.open("rb") as stream:
            entry = tarfile.TarInfo(name)
            entry.size = os.fstat(stream.fileno()).st_size
            reading = _Hashed(stream)
            self._tar.addfile(entry, reading)
        self.files[name] = reading.digest.hexdigest()

    def add_database(self, name: str, path: Path) -> None:
        """Adds a SQLite file as of one moment, whoever writes to it.

        Raises:
            OperationError: It cannot be read as a database.
        """
        with tempfile.NamedTemporaryFile(dir=Path(str(self._tar.name)).parent) as copy:
            try:
                with (
                    closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source,
                    closing(sqlite3.connect(copy.name)) as target,
                ):
                    source.backup(target)
            except sqlite3.Error as error:
                raise OperationError(f"{path} cannot be copied: {error}") from error
            self.add_file(name, Path(copy.name))

    def end(self, manifest: Manifest) -> None:
        """Adds the list of what was added."""
        content = json.dumps(asdict(manifest), indent=1, sort_keys=True).encode()
        entry = tarfile.TarInfo(MANIFEST)
        entry.size = len(content)
        self._tar.addfile(entry, io.BytesIO(content))


@contextmanager
def writing(target: Path) -> Iterator[Writer]:
    """A new backup; it has its name at the end of the block, or does not exist.

    Raises:
        OperationError: It exists, or the disk does not take it.
    """
    if target.exists():
        raise OperationError(f"{target} exists: choose another name")
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("wb") as stream:
            part.chmod(0o600)
            with tarfile.open(str(part), "w", fileobj=stream, format=tarfile.PAX_FORMAT) as tar:
                yield Writer(tar)
            stream.flush()
            os.fsync(stream.fileno())
        part.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise OperationError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def unpack(backup: Path, into: Path) -> Manifest:
    """Writes the files into an empty folder, each compared with its digest.

    Raises:
        BackupUnusable: It is no backup, a file differs or is missing, or names a place outside.
        OperationError: The disk does not take it.
    """
    found: dict[str, str] = {}
    manifest = None
    try:
        with tarfile.open(backup, "r:") as tar:
            for entry in tar:
                content = tar.extractfile(entry) if entry.isfile() else None
                if content is None or manifest is not None:
                    raise BackupUnusable(f"{backup} has {entry.name!r}, which no backup has")
                if entry.name == MANIFEST:
                    manifest = _manifest(content.read())
                    continue
                target = _inside(into, entry.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                found[entry.name] = _copy(content, target)
    except (tarfile.TarError, EOFError, ValueError, TypeError, KeyError) as error:
        raise BackupUnusable(f"{backup} is no backup, or not all of one: {error}") from error
    except FileNotFoundError as error:
        raise BackupUnusable(f"{backup} is not there") from error
    except OSError as error:
        raise OperationError(f"{backup} cannot be unpacked: {error.strerror or error}") from error
    if manifest is None:
        raise BackupUnusable(f"{backup} ends before its list of files")
    if found != manifest.files:
        names = found.keys() | manifest.files
        differing = sorted(n for n in names if found.get(n) != manifest.files.get(n))
        raise BackupUnusable(f"{backup} is damaged: {', '.join(differing[:5])}")
    return manifest


def _manifest(content: bytes) -> Manifest:
    manifest = Manifest(**json.loads(content))
    if manifest.format != _FORMAT:
        raise BackupUnusable(f"the backup is of format {manifest.format}; this is {_FORMAT}")
    return manifest


def _inside(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts:
        raise BackupUnusable(f"the backup names {name!r}, which is outside")
    return folder.joinpath(*parts)


def _copy(content: IO[bytes], target: Path) -> str:
    reading = _Hashed(content)
    with target.open("wb") as file:
        while chunk := reading.read(_CHUNK):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return reading.digest.hexdigest()


def _sync(folder: Path) -> None:
    at = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(at)
    finally:
        os.close(at)


class _Hashed:
    """A stream that is hashed while it is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Reads on."""
        chunk = self._stream.read(size)
        self.digest.update(chunk)
        return chunk
