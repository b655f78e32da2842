"""How a replica comes by a bundle: its node's cache first, else from the Registry deployment.

The cache is shared by all replicas of a node (``registry/fetch.py``). What is missing is
read through the graph, in chunks, so a replica needs neither MLflow nor a shared disk.
"""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Protocol

from registry.bundle import MANIFEST
from registry.fetch import fetch_bundle
from registry.records import Bundle

# Well under Ray Serve's 4 MiB limit for one message between replicas.
CHUNK_BYTES = 2 << 20


class BundleSource(Protocol):
    """The Registry deployment, seen from a replica."""

    def read(self, digest: str, name: str, offset: int) -> Awaitable[bytes]:
        """At most ``CHUNK_BYTES`` of a bundle's file from ``offset``; empty at its end."""
        ...


class BundleCache:
    """Verified bundles of this node, by digest.

    Attributes:
        directory: Theirs; what is measured on this host is kept there too.
    """

    def __init__(self, directory: Path, source: BundleSource) -> None:
        self.directory = directory
        self._source = source

    async def get(self, digest: str) -> Bundle:
        """The bundle, verified; fetched first if this node does not have it.

        Raises:
            RegistryError: The source does not have it, or a digest does not match.
        """
        loop = asyncio.get_running_loop()

        def download(name: str, folder: Path) -> bool:
            copying = asyncio.run_coroutine_threadsafe(self._copy(digest, name, folder), loop)
            copying.result()
            return True

        return await asyncio.to_thread(fetch_bundle, digest, self.directory, download)

    async def _copy(self, digest: str, name: str, folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            offset = 0
            while chunk := await self._source.read(digest, name, offset):
                stream.write(chunk)
                offset += len(chunk)


def served_files(bundle: Bundle) -> frozenset[str]:
    """Names that may be read of a bundle: its manifest and what that lists."""
    return frozenset({MANIFEST, *bundle.files})
