"""The bundle server: fetches bundles of registered versions and reads their files for replicas.

``deployment.py`` offers ``read`` to the replicas; ``initial_version.py`` and ``controller.py``
open the versions that the graph serves.
"""

import asyncio
from pathlib import Path

from deployments.bundles import CHUNK_BYTES, served_files
from deployments.versions import ServedVersion
from registry.backend.store import RegistryStore
from registry.bundles.bundle import open_bundle
from registry.errors import ModelNotFound
from registry.records import Bundle


class BundleServer:
    """The open bundles of one model, by digest. ``open`` may be called from any thread."""

    def __init__(self, store: RegistryStore, name: str, directory: Path) -> None:
        """Opens nothing yet.

        Args:
            store: Where versions and their files are registered.
            name: The model.
            directory: This node's bundle cache.
        """
        self._store = store
        self._name = name
        self._directory = directory
        self._bundles: dict[str, Bundle] = {}

    def open(self, version: int) -> ServedVersion:
        """Fetches and verifies a version's bundle; its files can be read until ``close``.

        Raises:
            RegistryError: No such version, or its files do not match their digest; or MLflow
                does not answer.
        """
        found = self._store.resolve(self._name, version)
        bundle = self._store.fetch(found, self._directory)
        self._bundles[bundle.digest] = bundle
        return ServedVersion(
            name=found.name,
            version=found.version,
            digest=bundle.digest,
            labels=bundle.labels,
            kind=bundle.engine.kind,
            precision=bundle.engine.precision,
            max_tokens=bundle.max_tokens,
            source="registry",
            head=bundle.head,
        )

    def open_stored(self, digest: str) -> None:
        """Verifies a bundle of this node's cache without asking MLflow.

        Raises:
            RegistryError: The cache does not have it, or its files do not match their digest.
        """
        self._bundles[digest] = open_bundle(self._directory / "sha256" / digest)

    def close(self, digest: str) -> None:
        """Ends reading of a bundle."""
        self._bundles.pop(digest, None)

    async def read(self, digest: str, name: str, offset: int) -> bytes:
        """At most ``CHUNK_BYTES`` of an open bundle's file from ``offset``; empty at its end.

        Raises:
            ModelNotFound: The bundle is not open, or it has no such file.
        """
        bundle = self._bundles.get(digest)
        if bundle is None or name not in served_files(bundle):
            raise ModelNotFound(f"bundle {digest[:12]}… has no file {name!r} here")
        return await asyncio.to_thread(_read, bundle.directory / name, offset)


def _read(file: Path, offset: int) -> bytes:
    with file.open("rb") as stream:
        stream.seek(offset)
        return stream.read(CHUNK_BYTES)
