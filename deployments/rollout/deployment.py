"""The Registry deployment: which versions are live, and the bytes of their bundles.

It alone talks to MLflow. Replicas ask it when they start and read bundles from it when
their node has none; one watcher follows MLflow and has ``controller.py`` bring changes to
all replicas. It is never on the path of a request: when MLflow does not answer, serving
goes on with what was live last, and says so.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from configs.schema.app import AppConfig
from deployments.asgi.proxy import Call, Part, ProxyServer
from deployments.bundles import CHUNK_BYTES, served_files
from deployments.payloads import FeedbackResult
from deployments.rollout.change_feed import ChangeFeed
from deployments.rollout.controller import Fleet, RolloutController
from deployments.rollout.initial_version import InitialVersion
from deployments.rollout.registry_routes import build_registry_app
from deployments.rollout.release_driver import Ingresses, ReleaseDriver
from deployments.rollout.step_times import StepTimes
from deployments.telemetry.log_context import add_log_fields
from deployments.telemetry.ray_export import MakeGauge, RayMetricsExporter
from deployments.telemetry.version_metrics import VersionMetrics
from deployments.versions import RoutingTable, ServedVersion
from registry.backend.connection import log_in
from registry.bundles.bundle import open_bundle
from registry.errors import ModelNotFound, RegistryError
from registry.lifecycle.alias_watcher import AliasAssignment, Watcher
from registry.lifecycle.state import CHAMPION, GOVERNED, SLOTS
from registry.model_registry import ModelRegistry
from registry.records import Bundle

_log = logging.getLogger("ray.serve")
_ACTOR = "rollout"
# MLflow is looked at again after this time, whatever the cheap signs say.
_LOOK_AGAIN_S = 30.0
# An ingress that started amid a change has the table after this time at the latest.
_REPEAT_S = 2.0


class Registry:
    """Resolves the configured alias, hands out bundles and follows MLflow. One replica."""

    def __init__(
        self, config: AppConfig, fleet: Fleet, ingresses: Ingresses, make_gauge: MakeGauge
    ) -> None:
        """Resolves at once, so that a deployment without a servable model fails with the reason.

        ``make_gauge`` makes the gauges that it says its versions with.

        Raises:
            RegistryError: No such model or alias, or its files do not match their digest; or
                MLflow cannot be reached and nothing was live before.
        """
        add_log_fields(config.server.service_name, "Registry")
        self._config = config
        self._name, self._alias = config.model.name, config.model.alias
        self._directory = Path(config.registry.bundle_cache_dir)
        registry = config.registry
        log_in(registry.username, registry.password.get_secret_value())
        self._secrets: object = None
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._models = ModelRegistry(registry.tracking_uri, registry.artifact_root, self._moved)
        self._bundles: dict[str, Bundle] = {}
        self._startup = InitialVersion(config, self._models, self._open, self._open_stored)
        self._controller = RolloutController(
            fleet,
            self,
            RoutingTable(time.time_ns() // 1_000_000, self._startup.first()),
            config.rollout,
            alias=self._alias,
            drain_s=config.limits.max_deadline_ms / 1_000,
        )
        self._ingresses = ingresses
        self._driver = ReleaseDriver(self._name, self._models.releases, ingresses)
        self._news = ChangeFeed()
        self._relay = ProxyServer(build_registry_app(config, self._models, self._news))
        self._watcher = Watcher(self._models.store)
        self._trouble = ""
        shown = CollectorRegistry()
        self._versions = VersionMetrics(shown)
        self._mirror = RayMetricsExporter(shown, make_gauge)
        self._mirroring: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    async def routes(self) -> RoutingTable:
        """The present routing table. The first to ask also starts the watcher."""
        self._watch_from_now_on()
        return self._controller.routes

    async def check_health(self) -> None:
        """Serve asks at once and every few seconds: whoever asked the replica before this one
        for the table need not ask again, and the watcher runs all the same.
        """
        self._watch_from_now_on()

    async def read(self, digest: str, name: str, offset: int) -> bytes:
        """At most ``CHUNK_BYTES`` of a live bundle's file from ``offset``; empty at its end.

        Raises:
            ModelNotFound: Not a live bundle, or it has no such file.
        """
        bundle = self._bundles.get(digest)
        if bundle is None or name not in served_files(bundle):
            raise ModelNotFound(f"bundle {digest[:12]}… has no file {name!r} here")
        return await asyncio.to_thread(_read, bundle.directory / name, offset)

    async def call(self, call: Call) -> AsyncIterator[Part]:
        """Answers a registry request that an ingress relays, see ``relay.py``."""
        self._watch_from_now_on()
        async for part in self._relay.call(call):
            yield part
        if call.method not in ("GET", "HEAD"):
            self._changed.set()

    async def push(self, call_id: str, part: bytes, more: bool) -> bool:
        """Takes the next part of a relayed request's body."""
        return await self._relay.push(call_id, part, more)

    async def judge(self, prediction_id: str, label: str) -> FeedbackResult | None:
        """Judges an answer of any ingress; None when none of them remembers it."""
        found = await self._ingresses.judge(prediction_id, label)
        return next((judgement for judgement in found if judgement is not None), None)

    async def open(self, version: int) -> ServedVersion:
        """See ``controller.Truth``."""
        return await asyncio.to_thread(self._open, version)

    async def refuse(self, role: str, version: int, reason: str, instead: int) -> None:
        """See ``controller.Truth``: back to the version that still answers, or an empty slot."""
        lifecycle = self._models.lifecycle
        reason = f"version {version}: {reason}"[:500]
        if await self._driver.refused(version, reason):
            return
        if role != CHAMPION:
            slot = (self._name, role, None)
            await asyncio.to_thread(lifecycle.set_slot, *slot, actor=_ACTOR, reason=reason)
        elif self._alias == CHAMPION:
            await asyncio.to_thread(
                lifecycle.rollback, self._name, actor=_ACTOR, reason=reason, to=instead
            )

    async def forget(self, digest: str) -> None:
        """See ``controller.Truth``."""
        self._bundles.pop(digest, None)

    def _open(self, version: int) -> ServedVersion:
        store = self._models.store
        found = store.resolve(self._name, version)
        bundle = store.fetch(found, self._directory)
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
        )

    def _open_stored(self, digest: str) -> None:
        self._bundles[digest] = open_bundle(self._directory / "sha256" / digest)

    def _moved(self) -> None:
        """The watcher need not wait for the rest of a change that is made here."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._changed.set)

    def _watch_from_now_on(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        if self._mirroring is None or self._mirroring.done():
            self._mirroring = asyncio.create_task(self._mirror.run())

    async def _watch(self) -> None:
        """Looks at MLflow for ever; goes on when it does not answer."""
        looked_s = repeated_s = -_LOOK_AGAIN_S
        told = False
        if self._config.vault.enabled and self._config.registry.username:
            await self._follow_password()
        while True:
            now = time.monotonic()
            try:
                written = await asyncio.to_thread(self._watcher.written)
                again = now - looked_s > _LOOK_AGAIN_S
                if written or again or told:
                    looked_s = now if again else looked_s
                    await self._look(every_model=again)
                if self._alias == CHAMPION:
                    await self._driver.tick(self._controller.routes)
                self._trouble = ""
            except RegistryError as error:
                looked_s = -_LOOK_AGAIN_S
                if self._trouble != error.message:
                    _log.warning("registry cannot be followed: %s", error.message)
                self._trouble = error.message
            except Exception:  # noqa: BLE001
                # Replicas come and go amid a call to all of them; the next round will do.
                looked_s = -_LOOK_AGAIN_S
                _log.exception("routing table could not follow the registry")
            # Not ``now``: a server that hangs is told as soon as it is given up.
            if (ended_s := time.monotonic()) - repeated_s > _REPEAT_S:
                repeated_s = ended_s
                await self._repeat()
            told = await self._pause()

    async def _pause(self) -> bool:
        """Until the next look is due, or (True) something was changed through this replica."""
        try:
            async with asyncio.timeout(self._config.registry.watch_interval_ms / 1_000):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    async def _follow_password(self) -> None:
        # Half a second of imports that nobody without Vault needs.
        from deployments.clients.vault import SecretWatch  # noqa: PLC0415

        use = partial(log_in, self._config.registry.username)
        watch = SecretWatch(self._config.vault, {"registry.password": use})
        self._secrets = watch
        await watch.start()

    async def _repeat(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_AGAIN_S):
                await self._controller.repeat(registry_away=bool(self._trouble))
        except Exception as error:  # noqa: BLE001  (replicas that come and go; the next will do)
            _log.debug("routing table not repeated: %s", error)

    async def _look(self, *, every_model: bool) -> None:
        """Sees what changed, has it judged and recorded, tells who waits, and follows it.

        What the ledger says already needs no judgement, and whoever wrote it there is about to
        finish it. A change that a crash interrupted shows in no alias: now and then every model
        is looked at, and what is missing is written, when nobody waits for it any more.
        """
        before = self._news.places
        steps = self._controller.steps = StepTimes()
        with steps.step("look"):
            places = await asyncio.to_thread(self._watcher.look)
        changed = [name for name in places if places[name] != before.get(name)]
        if every_model or self._name in changed:
            self._driver.look_again()
        preparing = asyncio.create_task(self._controller.prepare(places.get(self._name, {})))
        try:
            with steps.step("judge"):
                judged = [name for name in changed if not await self._told(name, places[name])]
                for name in judged:
                    await asyncio.to_thread(self._models.lifecycle.state, name)
                if judged:
                    places = await asyncio.to_thread(self._watcher.look)
            await self._news.publish(places)
            self._versions.register(self._name, self._alias, places.get(self._name, {}))
        finally:
            await preparing
        if self._name in places:
            await self._controller.follow(places[self._name])
            await asyncio.to_thread(self._startup.note, self._controller.routes.champion)
        for name in places if every_model else ():
            await asyncio.to_thread(self._models.lifecycle.state, name)

    async def _told(self, name: str, places: Mapping[str, AliasAssignment]) -> bool:
        """Whether the audit ledger says that the model's places are these."""
        lifecycle = self._models.lifecycle
        found = {alias: place.version for alias, place in places.items() if alias in GOVERNED}
        weights = {slot: places[slot].weight for slot in SLOTS if slot in places}
        return await asyncio.to_thread(lifecycle.says, name, found, weights)


def _read(file: Path, offset: int) -> bytes:
    with file.open("rb") as stream:
        stream.seek(offset)
        return stream.read(CHUNK_BYTES)
