"""Where files are: local paths and URIs of any file system that pyarrow or fsspec knows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from pyarrow import ArrowException, fs

from pipelines.errors import ScoreError


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file as it is now.

    Attributes:
        path: In its file system.
        size: Bytes.
        changed_ns: When it was last written; 0 where the file system does not say.
    """

    path: str
    size: int
    changed_ns: int


class Location:
    """A path in a file system. Cheap to make; each process makes its own of the URI."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.fs, self.path = _open(uri)
        self.local = isinstance(self.fs, fs.LocalFileSystem)

    def files(self) -> list[FileInfo]:
        """The file, or the files of the folder by name; those that begin with ``.`` or ``_`` aside.

        Raises:
            ScoreError: There is nothing, or it cannot be read.
        """
        try:
            info = self.fs.get_file_info(self.path)
            if info.type == fs.FileType.File:
                return [_stored(info)]
            if info.type == fs.FileType.NotFound:
                raise ScoreError(f"{self.uri} is not there")
            inside = self.fs.get_file_info(fs.FileSelector(self.path))
        except (OSError, ArrowException) as error:
            raise ScoreError(f"{self.uri} cannot be read: {error}") from error
        found = [_stored(i) for i in inside if i.type == fs.FileType.File and i.size]
        return sorted(
            (file for file in found if not Path(file.path).name.startswith((".", "_"))),
            key=lambda file: file.path,
        )

    def names(self) -> set[str]:
        """Names of the files in this folder; none when there is no folder."""
        selector = fs.FileSelector(self.path, allow_not_found=True)
        return {info.base_name for info in self.fs.get_file_info(selector)}

    def exists(self) -> bool:
        """Whether something is there."""
        return bool(self.fs.get_file_info(self.path).type != fs.FileType.NotFound)

    def below(self, name: str) -> Location:
        """A file in this folder."""
        return self._with(f"/{name}")

    def beside(self, suffix: str) -> Location:
        """The same path with a suffix."""
        return self._with(suffix)

    def _with(self, more: str) -> Location:
        # Options of a file system follow a question mark: `s3://…?endpoint_override=…`.
        start, mark, options = self.uri.partition("?") if "://" in self.uri else (self.uri, "", "")
        made = object.__new__(Location)
        made.uri = f"{start.rstrip('/')}{more}{mark}{options}"
        made.path = self.path.rstrip("/") + more
        made.fs, made.local = self.fs, self.local
        return made

    def make_folder(self) -> None:
        """Makes the folder; object stores need none."""
        self.fs.create_dir(self.path, recursive=True)

    def read(self) -> bytes:
        """All bytes of a small file."""
        with self.fs.open_input_stream(self.path) as stream:
            return bytes(stream.read())

    def write(self, pieces: Iterable[bytes]) -> None:
        """Writes the file whole or not at all."""
        # An object appears when its upload ends; a local file is renamed when it is complete.
        written = self.path + ".tmp" if self.local else self.path
        with self.fs.open_output_stream(written) as stream:
            for piece in pieces:
                stream.write(piece)
        self.settle(written)

    def settle(self, written: str) -> None:
        """Gives a complete local file its name."""
        if written != self.path:
            self.fs.move(written, self.path)

    def remove(self) -> None:
        """Deletes the folder with all in it."""
        self.fs.delete_dir(self.path)


def _open(uri: str) -> tuple[Any, str]:
    if "://" not in uri:
        return fs.LocalFileSystem(), str(Path(uri).absolute())
    try:
        system, path = fs.FileSystem.from_uri(uri)
        return system, path
    except ArrowException:
        pass
    try:
        system, path = fsspec.core.url_to_fs(uri)
    except (ValueError, ImportError) as error:
        raise ScoreError(f"no file system for {uri}: {error}") from error
    return fs.PyFileSystem(fs.FSSpecHandler(system)), path


def _stored(info: fs.FileInfo) -> FileInfo:
    return FileInfo(info.path, int(info.size), int(info.mtime_ns or 0))
