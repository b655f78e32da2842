"""``sentigraph restore FILE``: what a backup holds in the place of what is here.

All is unpacked and checked beside its place first. Then whole files and folders change names: what
was here stays as ``NAME.before-restore-…``. A restore that is interrupted in between leaves a
mark, with which no server starts; running it again ends it.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from deployments.stream.dead_letter_topic import TopicUnavailable, set_redriven_to
from operations.backup.archive import BackupUnusable, Manifest, unpack
from operations.backup.backup import add_places, described
from operations.backup.check import check, move_artifacts
from operations.backup.places import ARTIFACTS, REGISTRY, Places, find_places
from operations.errors import OperationError
from operations.local_stack.processes import belonging, end_all
from operations.local_stack.state_folder import StateFolder

# What SQLite keeps beside a database that was not closed.
_UNPACKED = ".restoring-"
_BESIDE = ("", "-wal", "-shm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph restore`."""
    parser.add_argument("file", type=Path, help="of `sentigraph backup`")
    add_places(parser)
    parser.add_argument("--sha256", help="of the file, as `sentigraph backup` printed it")
    parser.add_argument("--check", action="store_true", help="say what is in it, change nothing")
    parser.add_argument(
        "--damaged", action="store_true", help="also where something in it is damaged"
    )
    parser.add_argument(
        "--dead-letters", action="store_true", help="the last redrive's position in Kafka as well"
    )


def main(args: argparse.Namespace) -> int:
    """Restores; returns the exit status.

    Raises:
        BackupUnusable: It is no whole backup, or something in it is damaged.
        OperationError: A server runs here, or the disk does not take it.
    """
    backup = args.file.absolute()
    if args.sha256 and args.sha256 != _sha256(backup):
        raise BackupUnusable(f"{backup} is not the file with sha256 {args.sha256}")
    if args.check:
        with tempfile.TemporaryDirectory(prefix=_UNPACKED) as found:
            _, wrong = _unpacked(backup, Path(found))
        return int(bool(wrong))
    places = find_places(args.config, args.state_dir)
    state = StateFolder(places.state)
    with state.claim("sentigraph restore", whole=False) as (_, previous):
        if previous and belonging(previous.mark, set()):
            end_all(previous.mark, [], 0)
        for left in places.state.glob(f"{_UNPACKED}*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=places.state, prefix=_UNPACKED) as found:
            folder = Path(found)
            manifest, _ = _unpacked(backup, folder, refuses=not args.damaged)
            if places.artifacts is not None:
                _place_artifacts(folder, (folder / ARTIFACTS).as_uri(), places.artifacts)
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
            with state.changing(f"sentigraph restore {args.file}"):
                replaced = _exchange(folder, places, f".before-restore-{stamp}")
    before = f"; what was here has names with before-restore-{stamp}" if replaced else ""
    print(f"restored from {manifest.made_at}{before}")
    if args.dead_letters and manifest.dead_letters:
        try:
            set_redriven_to(
                places.config.stream, {int(k): at for k, at in manifest.dead_letters.items()}
            )
        except TopicUnavailable as error:
            raise OperationError(
                f"all but the position of dead letters is restored: {error}"
            ) from error
    return 0


def _unpacked(backup: Path, folder: Path, *, refuses: bool = False) -> tuple[Manifest, list[str]]:
    """Unpacks into ``folder`` and says what is there; returns what is damaged as well.

    Raises:
        BackupUnusable: It is no whole backup; or something is damaged and ``refuses``.
    """
    manifest = unpack(backup, folder)
    _place_artifacts(folder, manifest.artifact_uri, folder / ARTIFACTS)
    kept, wrong = check(folder)
    if wrong and refuses:
        raise BackupUnusable(f"{backup}: {'; '.join(wrong)} (--damaged restores it)")
    print("\n".join(described(kept, manifest)))
    for one in wrong:
        print(f"damaged: {one}", file=sys.stderr)
    return manifest, wrong


def _place_artifacts(folder: Path, before: str, after: Path) -> None:
    if (folder / REGISTRY).is_file():
        move_artifacts(folder / REGISTRY, before, after.as_uri())


def _exchange(folder: Path, places: Places, suffix: str) -> bool:
    """Gives every part its name; what was there keeps its content under another.

    Returns:
        Whether something was there.
    """
    replaced = False
    parts = dict(places.databases)
    if places.artifacts is not None:
        parts[ARTIFACTS] = places.artifacts
    for name, place in parts.items():
        new = folder / name
        if not new.exists():
            continue
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if new.stat().st_dev != place.parent.stat().st_dev:
                near = place.with_name(f".{place.name}.restoring")
                _copy(new, near)
                new = near
            for ending in _BESIDE:
                old = place.with_name(place.name + ending)
                if old.exists():
                    old.rename(old.with_name(old.name + suffix))
                    replaced = True
            new.rename(place)
        except OSError as error:
            raise OperationError(
                f"{place} cannot be restored: {error.strerror or error}"
            ) from error
    return replaced


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BackupUnusable(f"{file} cannot be read: {os.strerror(error.errno or 0)}") from error
