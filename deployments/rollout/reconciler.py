"""The reconcile loop: brings the graph from the observed to the desired state of the registry.

Desired is what the aliases in MLflow name, observed is the present routing table. Each round
reads the aliases, has ``registry/lifecycle`` judge and record changes made outside of it,
publishes them to waiting clients, and has ``controller.py`` load, probe and route the rest.
"""

import asyncio
import logging
import time
from collections.abc import Mapping

from configs.schema.app import AppConfig
from deployments.rollout.change_feed import ChangeFeed
from deployments.rollout.controller import RolloutController
from deployments.rollout.initial_version import InitialVersion
from deployments.rollout.release_driver import ReleaseDriver
from deployments.rollout.step_times import StepTimes
from deployments.telemetry.version_metrics import VersionMetrics
from registry.errors import RegistryError
from registry.lifecycle.alias_watcher import AliasAssignment, AliasWatcher
from registry.lifecycle.state import CHAMPION, GOVERNED, SLOTS
from registry.model_registry import ModelRegistry

_log = logging.getLogger("ray.serve")
# All models are read again after this time, even if MLflow shows no write.
_FULL_RESYNC_S = 30.0
# An ingress that started during a change gets the table within this time.
_REPEAT_S = 2.0


class ChangeSignal:
    """Wakes the loop before its interval ends. ``set`` may be called from any thread."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self) -> None:
        """Uses the running event loop."""
        self._loop = asyncio.get_running_loop()

    def set(self) -> None:
        """Ends the present wait, or the next one; does nothing before ``attach``."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, timeout_s: float) -> bool:
        """Waits for ``set``; False when ``timeout_s`` ended first."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class RegistryReconciler:
    """Reconciles one graph. Run it as one task."""

    def __init__(
        self,
        config: AppConfig,
        models: ModelRegistry,
        changed: ChangeSignal,
        *,
        controller: RolloutController,
        driver: ReleaseDriver,
        initial: InitialVersion,
        feed: ChangeFeed,
        metrics: VersionMetrics,
    ) -> None:
        """Reads nothing yet.

        Args:
            config: Model, alias and watch interval.
            models: The registry.
            changed: Set when something was changed through this replica.
            controller: Loads, probes and routes versions.
            driver: Moves automatic releases on.
            initial: Remembers which version is live.
            feed: Publishes the aliases of all models.
            metrics: Show the versions that the registry names.
        """
        self._name, self._alias = config.model.name, config.model.alias
        self._interval_s = config.registry.watch_interval_ms / 1_000
        self._models = models
        self._watcher = AliasWatcher(models.store)
        self._changed = changed
        self._controller = controller
        self._driver = driver
        self._initial = initial
        self._feed = feed
        self._metrics = metrics
        self._trouble = ""

    async def run(self) -> None:
        """Reconciles until cancelled; goes on when MLflow does not answer."""
        synced_s = repeated_s = -_FULL_RESYNC_S
        changed = False
        while True:
            now = time.monotonic()
            try:
                written = await asyncio.to_thread(self._watcher.may_have_changed)
                resync = now - synced_s > _FULL_RESYNC_S
                if written or resync or changed:
                    synced_s = now if resync else synced_s
                    await self.reconcile(every_model=resync)
                if self._alias == CHAMPION:
                    await self._driver.tick(self._controller.routes)
                self._trouble = ""
            except RegistryError as error:
                synced_s = -_FULL_RESYNC_S
                if self._trouble != error.message:
                    _log.warning("registry cannot be followed: %s", error.message)
                self._trouble = error.message
            except Exception:  # noqa: BLE001
                # A replica may stop during a call to all of them; the next round repeats it.
                synced_s = -_FULL_RESYNC_S
                _log.exception("routing table could not follow the registry")
            # Not ``now``: the call above may have waited long for a server that hangs.
            if (ended_s := time.monotonic()) - repeated_s > _REPEAT_S:
                repeated_s = ended_s
                await self._repeat()
            changed = await self._changed.wait(self._interval_s)

    async def reconcile(self, *, every_model: bool) -> None:
        """One round. With ``every_model`` it also completes changes that a crash interrupted.

        What the audit ledger records already needs no judgement: its writer is about to finish
        it. An interrupted change shows in no alias, so every model is checked now and then,
        after the table has changed and no client waits.

        Raises:
            RegistryError: MLflow does not answer.
        """
        before = self._feed.places
        steps = self._controller.steps = StepTimes()
        with steps.step("look"):
            places = await asyncio.to_thread(self._watcher.observe)
        changed = [name for name in places if places[name] != before.get(name)]
        if every_model or self._name in changed:
            self._driver.look_again()
        preparing = asyncio.create_task(self._controller.prepare(places.get(self._name, {})))
        try:
            with steps.step("judge"):
                judged = [name for name in changed if not await self._recorded(name, places[name])]
                for name in judged:
                    await asyncio.to_thread(self._models.lifecycle.state, name)
                if judged:
                    places = await asyncio.to_thread(self._watcher.observe)
            await self._feed.publish(places)
            self._metrics.register(self._name, self._alias, places.get(self._name, {}))
        finally:
            await preparing
        if self._name in places:
            await self._controller.follow(places[self._name])
            await asyncio.to_thread(self._initial.note, self._controller.routes.champion)
        for name in places if every_model else ():
            await asyncio.to_thread(self._models.lifecycle.state, name)

    async def _recorded(self, name: str, aliases: Mapping[str, AliasAssignment]) -> bool:
        """Whether the audit ledger records the model's aliases as they are."""
        found = {alias: held.version for alias, held in aliases.items() if alias in GOVERNED}
        weights = {slot: aliases[slot].weight for slot in SLOTS if slot in aliases}
        return await asyncio.to_thread(self._models.lifecycle.is_desired, name, found, weights)

    async def _repeat(self) -> None:
        try:
            async with asyncio.timeout(_FULL_RESYNC_S):
                await self._controller.repeat(registry_away=bool(self._trouble))
        except Exception as error:  # noqa: BLE001  (a replica may stop; the next round repeats it)
            _log.debug("routing table not repeated: %s", error)
