"""The Registry deployment: which version is live, and the bytes of its bundle.

It alone talks to MLflow. Replicas ask it once, when they start, and read bundles from it
when their node has none. It is never on the path of a request: when MLflow does not
answer, it goes on with what was live last and says so.
"""

import asyncio
import dataclasses
import json
import logging
import os
from pathlib import Path

from configs.schema import AppConfig
from deployments.fetch import CHUNK_BYTES, served_files
from deployments.live import LiveModel
from registry.bundle import open_bundle
from registry.errors import BackendUnavailable, ModelNotFound
from registry.model_registry import ModelRegistry
from registry.records import Bundle

_log = logging.getLogger("ray.serve")


class Registry:
    """Resolves the configured alias and hands out its bundle. One replica."""

    def __init__(self, config: AppConfig) -> None:
        """Resolves at once, so that a deployment without a servable model fails with the reason.

        Raises:
            RegistryError: No such model or alias, or its files do not match their digest; or
                MLflow cannot be reached and nothing was live before.
        """
        self._config = config
        self._directory = Path(config.registry.bundle_cache_dir)
        self._remembered = self._directory / f"live-{config.model.name}-{config.model.alias}.json"
        self._bundle, self._live = self._resolve()

    async def live(self) -> LiveModel:
        """The version that answers requests."""
        return self._live

    async def read(self, digest: str, name: str, offset: int) -> bytes:
        """At most ``CHUNK_BYTES`` of a live bundle's file from ``offset``; empty at its end.

        Raises:
            ModelNotFound: Not the live bundle, or it has no such file.
        """
        if digest != self._bundle.digest or name not in served_files(self._bundle):
            raise ModelNotFound(f"bundle {digest[:12]}… has no file {name!r} here")
        return await asyncio.to_thread(self._read, name, offset)

    def _read(self, name: str, offset: int) -> bytes:
        with (self._bundle.directory / name).open("rb") as stream:
            stream.seek(offset)
            return stream.read(CHUNK_BYTES)

    def _resolve(self) -> tuple[Bundle, LiveModel]:
        model = self._config.model
        registry = self._config.registry
        models = ModelRegistry(registry.tracking_uri, registry.artifact_root)
        store = models.store
        try:
            models.ensure_bundled(model.name, Path(registry.bundled_model_dir), model.alias)
            version = store.resolve(model.name, model.alias)
            bundle = store.fetch(version, self._directory)
        except BackendUnavailable as error:
            return self._last_known(error)
        live = LiveModel(
            name=version.name,
            version=version.version,
            digest=bundle.digest,
            labels=bundle.labels,
            kind=bundle.engine.kind,
            precision=bundle.engine.precision,
            max_tokens=bundle.max_tokens,
            source="registry",
        )
        self._remember(live)
        return bundle, live

    def _remember(self, live: LiveModel) -> None:
        staging = self._remembered.with_suffix(f".{os.getpid()}.tmp")
        staging.write_text(json.dumps(dataclasses.asdict(live)), encoding="utf-8")
        staging.rename(self._remembered)

    def _last_known(self, error: BackendUnavailable) -> tuple[Bundle, LiveModel]:
        try:
            remembered = json.loads(self._remembered.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise error from None
        remembered["labels"] = tuple(remembered["labels"])
        live = dataclasses.replace(LiveModel(**remembered), source="last_known")
        bundle = open_bundle(self._directory / "sha256" / live.digest)
        _log.warning("registry unreachable, serving the last known version: %s", error)
        return bundle, live
