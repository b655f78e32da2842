"""How a replica gets a bundle: from its node's cache, or else from the Registry deployment.

The cache is shared by all replicas of a node (``registry/bundles/node_cache.py``). What is missing
is read through the graph, in chunks, so a replica needs neither MLflow nor a shared disk.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from registry.bundles.bundle import MANIFEST
from registry.bundles.node_cache import fetch_bundle
from registry.records import Bundle

# More than a replica may hold at once: the live versions and those that it has just unloaded.
_REMEMBERED = 16
# Well under Ray Serve's 4 MiB limit for one message between replicas.
CHUNK_BYTES = 2 << 20

FileState = tuple[tuple[int, ...], ...]
"""Device, inode, size, modification and change time of each file."""


ReadBundle = Callable[[str, str, int], Awaitable[bytes]]
"""Reads up to ``CHUNK_BYTES`` of a bundle's file from an offset, by digest and file name."""


class BundleCache:
    """Verified bundles of this node, by digest.

    Each process checks each digest once. It uses a checked bundle again without hashing as long
    as the file system shows that no file was written, replaced or touched since; a program that
    may write the files cannot set their change time back. So a changed model is never served.

    Attributes:
        directory: The folder of the bundles, and of the costs measured on this host.
    """

    def __init__(self, directory: Path, read: ReadBundle) -> None:
        self.directory = directory
        self._read = read
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
            while chunk := await self._read(digest, name, offset):
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
