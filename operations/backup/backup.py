"""``sentigraph backup FILE``: everything that the server here keeps; it may run meanwhile."""

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from configs.sources.shipped_files import shipped_file
from deployments.stream.dead_letter_topic import TopicUnavailable, redriven_to
from operations.backup.archive import Manifest, Writer, unpack, writing
from operations.backup.check import Kept, check, move_artifacts
from operations.backup.places import ARTIFACTS, REGISTRY, Places, find_places
from operations.errors import OperationError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph backup`."""
    parser.add_argument("file", type=Path, help="written anew; nothing is overwritten")
    add_places(parser)


def add_places(parser: argparse.ArgumentParser) -> None:
    """Declares where the server keeps things, as `sentigraph serve` does."""
    config = shipped_file("serve_config.yaml")
    parser.add_argument("--config", type=Path, default=config, help="another serve_config.yaml")
    parser.add_argument(
        "--state-dir", type=Path, help="the server's (.sentigraph of this checkout or folder)"
    )


def main(args: argparse.Namespace) -> int:
    """Writes the file, restores it into a temporary folder and says what is in it.

    Returns 1 when something that is kept was damaged before; the file is written all the same.

    Raises:
        OperationError: There is nothing to keep, or the disk does not take it.
    """
    places = find_places(args.config, args.state_dir)
    target = args.file.absolute()
    with writing(target) as writer:
        _write(writer, places)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".rehearsal-") as folder:
        manifest = unpack(target, Path(folder))
        move_artifacts(
            Path(folder) / REGISTRY, manifest.artifact_uri, (Path(folder) / ARTIFACTS).as_uri()
        )
        kept, wrong = check(Path(folder))
    with target.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB, sha256 {digest}")
    print(
        "\n".join([*described(kept, manifest), *(f"not in it: {one}" for one in places.elsewhere)])
    )
    for one in wrong:
        print(f"kept as it is, but damaged: {one}", file=sys.stderr)
    return int(bool(wrong))


def described(kept: Sequence[Kept], manifest: Manifest) -> list[str]:
    """What a backup holds, in lines for people."""
    lines = [
        f"model {one.name}: {one.versions} versions, champion {one.champion or 'none'}"
        f"{f' ({one.digest[:12]})' if one.digest else ''}, audit chain of {one.entries} entries"
        for one in kept
    ]
    databases = [name for name in manifest.files if "/" not in name and name != REGISTRY]
    if databases:
        lines.append(f"and {', '.join(sorted(databases))}")
    if manifest.dead_letters:
        lines.append(f"dead letters sent again up to: {manifest.dead_letters}")
    return lines


def _write(writer: Writer, places: Places) -> None:
    databases = {name: path for name, path in places.databases.items() if path.is_file()}
    if not databases:
        raise OperationError(
            f"nothing to keep in {places.state}: "
            f"{'; '.join(places.elsewhere) or 'no server has run here'}"
        )
    # First: what its rows name is never changed afterwards.
    for name, path in databases.items():
        writer.add_database(name, path)
    artifacts = places.artifacts
    if artifacts is not None and REGISTRY in databases:
        for path in sorted(path for path in artifacts.rglob("*") if path.is_file()):
            try:
                writer.add_file(f"{ARTIFACTS}/{path.relative_to(artifacts).as_posix()}", path)
            except FileNotFoundError:
                continue  # Deleted meanwhile; the rehearsal says whether it is missed.
    writer.end(
        Manifest(
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            release=version("sentigraph"),
            artifact_uri=artifacts.as_uri() if artifacts is not None else "",
            dead_letters=_dead_letters(places),
            files=writer.files,
        )
    )


def _dead_letters(places: Places) -> dict[str, int]:
    if not places.config.stream.enabled:
        return {}
    try:
        return {str(number): at for number, at in redriven_to(places.config.stream).items()}
    except TopicUnavailable as error:
        print(f"the position of dead letters is not kept: {error}", file=sys.stderr)
        return {}
