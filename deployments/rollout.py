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
import time
from collections.abc import AsyncIterator
from pathlib import Path

from configs.schema import AppConfig
from deployments.fetch import CHUNK_BYTES, served_files
from deployments.live import LiveModel
from deployments.news import News
from deployments.registry_app import build_registry_app
from deployments.relay import Call, Part, RelayEnd
from registry.bundle import open_bundle
from registry.errors import BackendUnavailable, ModelNotFound, RegistryError
from registry.model_registry import ModelRegistry
from registry.records import Bundle
from registry.watch import Watcher

_log = logging.getLogger("ray.serve")
# MLflow is looked at again after this time, whatever the cheap signs say.
_LOOK_AGAIN_S = 30.0


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
        registry = config.registry
        self._models = ModelRegistry(registry.tracking_uri, registry.artifact_root)
        self._bundle, self._live = self._resolve()
        self._news = News()
        self._relay = RelayEnd(build_registry_app(config, self._models, self._news))
        self._watcher = Watcher(self._models.store)
        self._trouble = ""
        self._watching: asyncio.Task[None] | None = None

    async def live(self) -> LiveModel:
        """The version that answers requests."""
        self._watch_from_now_on()
        return self._live

    async def check_health(self) -> None:
        """Serve asks every few seconds; MLflow being away is no reason to be replaced."""
        self._watch_from_now_on()

    async def call(self, call: Call) -> AsyncIterator[Part]:
        """Answers a registry request that an ingress relays, see ``relay.py``."""
        self._watch_from_now_on()
        async for part in self._relay.call(call):
            yield part

    async def push(self, call_id: str, part: bytes, more: bool) -> bool:
        """Takes the next part of a relayed request's body."""
        return await self._relay.push(call_id, part, more)

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
        store = self._models.store
        try:
            self._models.ensure_bundled(model.name, Path(registry.bundled_model_dir), model.alias)
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

    def _watch_from_now_on(self) -> None:
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """Looks at MLflow for ever; goes on when it does not answer."""
        looked_s = 0.0
        while True:
            try:
                written = await asyncio.to_thread(self._watcher.written)
                if written or time.monotonic() - looked_s > _LOOK_AGAIN_S:
                    looked_s = time.monotonic()
                    await self._look()
                self._trouble = ""
            except RegistryError as error:
                if self._trouble != error.message:
                    _log.warning("registry cannot be watched: %s", error.message)
                self._trouble = error.message
            await asyncio.sleep(self._config.registry.watch_interval_ms / 1_000)

    async def _look(self) -> None:
        """Sees what changed, has it judged and recorded, and tells who waits."""
        before = self._news.places
        places = await asyncio.to_thread(self._watcher.look)
        for name in places:
            if places[name] != before.get(name):
                await asyncio.to_thread(self._models.lifecycle.state, name)
        await self._news.publish(await asyncio.to_thread(self._watcher.look))

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
