"""A node's cache of verified bundles: ``<cache>/sha256/<digest>/``, filled by ``store.py``.

Content-addressed, so an entry never changes and any number of processes may share the
folder: each fills a folder of its own and renames it into place. Files are copied, not
linked: what is overwritten in the store later must not reach a running model.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from registry.bundles.bundle import MANIFEST, manifest_digest, open_bundle
from registry.errors import IntegrityError
from registry.records import Bundle

Download = Callable[[str, Path], bool]
"""Copies a stored file, by its name in the bundle, into a folder; False when there is none."""


def fetch_bundle(digest: str, cache_dir: Path, download: Download) -> Bundle:
    """The bundle with ``digest``, verified; downloaded when the cache does not have it.

    Raises:
        IntegrityError: A downloaded file is missing or is not the one that was recorded;
            the cache is left without it.
    """
    target = cache_dir.absolute() / "sha256" / digest
    try:
        return _verified(target, digest)
    except FileNotFoundError:
        pass
    except IntegrityError:
        # A damaged cache entry is not the registry's fault: take it out and fetch again.
        _discard(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{digest[:12]}-", dir=target.parent))
    try:
        for name in _listed_files(digest, staging, download):
            if not download(name, staging):
                raise IntegrityError(f"the registry has lost file {name} of bundle {digest[:12]}…")
        _verified(staging, digest)
        staging.chmod(0o755)  # Replicas may run as another user.
        try:
            staging.rename(target)
        except OSError:
            # Another process was faster; its copy has the same digest.
            if not target.exists():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return _verified(target, digest)


def _verified(directory: Path, digest: str) -> Bundle:
    if not directory.exists():
        raise FileNotFoundError(directory)
    bundle = open_bundle(directory)
    if bundle.digest != digest:
        raise IntegrityError(f"{directory} holds bundle {bundle.digest[:12]}…, not {digest[:12]}…")
    return bundle


def _listed_files(digest: str, staging: Path, download: Download) -> list[str]:
    """Downloads the manifest and returns the names in it, once its digest is the right one."""
    if not download(MANIFEST, staging):
        raise IntegrityError(f"the registry has lost {MANIFEST} of bundle {digest[:12]}…")
    try:
        manifest = json.loads((staging / MANIFEST).read_text(encoding="utf-8"))
    except ValueError as error:
        raise IntegrityError(f"{MANIFEST} of bundle {digest[:12]}… was overwritten") from error
    if not isinstance(manifest, dict) or (found := manifest_digest(manifest)) != digest:
        shown = f", found {found[:12]}…" if isinstance(manifest, dict) else ""
        raise IntegrityError(f"{MANIFEST} of bundle {digest[:12]}… was overwritten{shown}")
    names = [str(name) for name in manifest["files"]]
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise IntegrityError(f"bundle {digest[:12]}… lists a file outside itself: {name!r}")
    return names


def _discard(entry: Path) -> None:
    grave = Path(tempfile.mkdtemp(prefix=".damaged-", dir=entry.parent))
    try:
        entry.rename(grave / "bundle")
    except FileNotFoundError:
        pass  # Another process took it out first.
    finally:
        shutil.rmtree(grave, ignore_errors=True)
