"""Unpacks an uploaded bundle, and packs one for download. Trusts nothing in the archive.

Names are checked before a byte is written, every file is created anew below one fresh
folder, and unpacking stops at the limit whatever the archive announces.
"""

import lzma
import os
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path

from registry.bundles.bundle import MANIFEST, check_file_name
from registry.errors import InvalidBundle, TooLarge

MAX_FILES = 64
_MAX_DIRECTORY_BYTES = 256 << 10
_UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)
_CHUNK_BYTES = 1 << 20
# A fixed date: the same bundle gives the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


def unpack(archive: Path, target: Path, *, max_bytes: int) -> None:
    """Unpacks a zip of a bundle's files into ``target``, an empty folder.

    Raises:
        InvalidBundle: No zip, a name that leaves the folder or is not allowed, a link, a
            name twice, or too many files. Nothing outside ``target`` is written.
        TooLarge: It unpacks to more than ``max_bytes``.
    """
    try:
        _check_directory(archive)
        with zipfile.ZipFile(archive) as pack:
            members = _members(pack)
            if sum(member.file_size for member in members) > max_bytes:
                raise TooLarge(f"the archive unpacks to more than {max_bytes} bytes")
            left = max_bytes
            for member in members:
                path = target / member.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                with pack.open(member) as source, path.open("xb") as sink:
                    while chunk := source.read(_CHUNK_BYTES):
                        left -= len(chunk)
                        if left < 0:
                            raise TooLarge(f"the archive unpacks to more than {max_bytes} bytes")
                        sink.write(chunk)
    except (*_UNREADABLE, NotImplementedError, RuntimeError, EOFError) as error:
        # RuntimeError: zipfile's word for an encrypted member.
        raise InvalidBundle(f"the archive cannot be read: {error}") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise InvalidBundle("the archive names a file twice") from error
    except OSError as error:
        # bzip2's word for corrupt data has no number; one of the system's has.
        if error.errno is not None:
            raise
        raise InvalidBundle("the archive cannot be read: corrupt data") from error


def pack(directory: Path, names: list[str], target: Path) -> None:
    """Writes an uncompressed zip of a bundle; the same bundle gives the same bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(prefix=".pack-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as stream, zipfile.ZipFile(stream, "w") as archive:
            for name in sorted(names):
                entry = zipfile.ZipInfo(name, _DATE)
                entry.external_attr = 0o644 << 16
                with (directory / name).open("rb") as source, archive.open(entry, "w") as sink:
                    while chunk := source.read(_CHUNK_BYTES):
                        sink.write(chunk)
        Path(scratch).replace(target)
    finally:
        Path(scratch).unlink(missing_ok=True)


def _check_directory(archive: Path) -> None:
    """Refuses an archive with a long table of its members before all of it is read."""
    with archive.open("rb") as stream:
        end = zipfile._EndRecData(stream)  # type: ignore[attr-defined]
    if end and end[zipfile._ECD_SIZE] > _MAX_DIRECTORY_BYTES:  # type: ignore[attr-defined]
        raise InvalidBundle(f"the archive holds more than {MAX_FILES} files")


def _members(pack: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = [member for member in pack.infolist() if not member.is_dir()]
    if not 1 <= len(members) <= MAX_FILES:
        raise InvalidBundle(f"the archive holds {len(members)} files; 1 to {MAX_FILES} are allowed")
    for member in members:
        # The name as it stands in the archive; zipfile itself mends some bad ones.
        for name in (member.orig_filename, member.filename):
            if name != MANIFEST:
                check_file_name(name)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise InvalidBundle(f"{member.filename!r} is a link or no file")
    return members
