"""How a replica comes by a bundle: its node's cache first, else from the Registry deployment.

The cache is shared by all replicas of a node (``registry/bundles/node_cache.py``). What is missing
is read through the graph, in chunks, so a replica needs neither MLflow nor a shared disk.
"""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Protocol

from registry.bundles.bundle import MANIFEST
from registry.bundles.node_cache import fetch_bundle
from registry.records import Bundle

# Bundles that a replica may hold at once, and some more: live versions and those just let go.
_REMEMBERED = 16
# Well under Ray Serve's 4 MiB limit for one message between replicas.
CHUNK_BYTES = 2 << 20

FileState = tuple[tuple[int, ...], ...]
"""Device, inode, size, modification and change time of each file."""


class BundleSource(Protocol):
    """The Registry deployment, seen from a replica."""

    def read(self, digest: str, name: str, offset: int) -> Awaitable[bytes]:
        """At most ``CHUNK_BYTES`` of a bundle's file from ``offset``; empty at its end."""
        ...


class BundleCache:
    """Verified bundles of this node, by digest.

    Every process checks every digest itself, once: what it has checked it takes again without
    hashing as long as the file system says that no file was written, replaced or touched since
    (the change time cannot be set back by whoever may write the file). Nothing on disk is
    trusted for that, so a changed model is never served.

    Attributes:
        directory: Theirs; what is measured on this host is kept there too.
    """

    def __init__(self, directory: Path, source: BundleSource) -> None:
        self.directory = directory
        self._source = source
        self._checked: dict[str, tuple[Bundle, FileState]] = {}

    async def get(self, digest: str) -> Bundle:
        """The bundle, verified; fetched first if this node does not have it.

        Raises:
            RegistryError: The source does not have it, or a digest does not match.
        """
        if digest in self._checked:
            bundle, state = self._checked.pop(digest)
            if _file_state(bundle) == state:
                self._checked[digest] = bundle, state
                return bundle
        loop = asyncio.get_running_loop()

        def download(name: str, folder: Path) -> bool:
            copying = asyncio.run_coroutine_threadsafe(self._copy(digest, name, folder), loop)
            copying.result()
            return True

        bundle = await asyncio.to_thread(fetch_bundle, digest, self.directory, download)
        state = _file_state(bundle)
        if state:
            if len(self._checked) >= _REMEMBERED:
                self._checked.pop(next(iter(self._checked)))
            self._checked[digest] = bundle, state
        return bundle

    async def _copy(self, digest: str, name: str, folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            offset = 0
            while chunk := await self._source.read(digest, name, offset):
                stream.write(chunk)
                offset += len(chunk)


def _file_state(bundle: Bundle) -> FileState:
    """What changes when any of the bundle's files does; empty when one is missing."""
    try:
        states = [(bundle.directory / name).lstat() for name in sorted(served_files(bundle))]
    except OSError:
        return ()
    return tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in states)


def served_files(bundle: Bundle) -> frozenset[str]:
    """Names that may be read of a bundle: its manifest and what that lists."""
    return frozenset({MANIFEST, *bundle.files})
