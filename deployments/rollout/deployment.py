"""The Registry deployment: which versions are live, and the bytes of their bundles.

It alone talks to MLflow, and no prediction waits for it: when MLflow does not answer, the
versions that were live go on serving, and the routing table says so.

    Tokenizer, Model ─▶ routes, read          BundleServer
    MLflow ─▶ RegistryReconciler ─▶ RolloutController ─▶ all replicas
    Ingress ─▶ call, push ─▶ ProxyServer      the registry's REST routes
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from ray.serve import Application

from configs.schema.app import AppConfig
from deployments.asgi.proxy import Call, Part, ProxyServer
from deployments.clients.vault import SecretWatch, watch_secrets
from deployments.payloads import FORGOTTEN, FeedbackResult
from deployments.rollout.bundle_server import BundleServer
from deployments.rollout.change_feed import ChangeFeed
from deployments.rollout.controller import Fleet, RolloutController
from deployments.rollout.initial_version import InitialVersion
from deployments.rollout.reconciler import ChangeSignal, RegistryReconciler
from deployments.rollout.registry_routes import build_registry_app
from deployments.rollout.release_driver import Observers, ReleaseDriver
from deployments.rollout.serve_clock import watch_serve_clock
from deployments.serve_options import deployment
from deployments.telemetry.background import keep_running
from deployments.telemetry.log_context import add_log_fields
from deployments.telemetry.malloc import give_memory_back
from deployments.telemetry.ray_export import MakeGauge, RayMetricsExporter
from deployments.telemetry.version_metrics import VersionMetrics
from deployments.transport.handles import ReplicaSet, TextReplicas, ray_gauge
from deployments.transport.serve_controller import controller_clock_s, restart_controller
from deployments.versions import RoutingTable
from registry.backend.connection import log_in
from registry.model_registry import ModelRegistry

Work = Callable[[], Coroutine[Any, Any, None]]


class Registry:
    """Follows MLflow, serves bundles and the registry's routes. One replica."""

    def __init__(
        self,
        config: AppConfig,
        fleet: Fleet,
        observers: Observers,
        make_gauge: MakeGauge,
        watch_clock: Work | None = None,
    ) -> None:
        """Resolves the first version, so that a graph without one fails with the reason.

        Args:
            config: Settings.
            fleet: All replicas of the graph.
            observers: All replicas that take texts from callers.
            make_gauge: Makes Ray's gauges of version numbers.
            watch_clock: See ``serve_clock.py``; None where nobody else needs the clock.

        Raises:
            RegistryError: No such model or alias, or its files do not match their digest; or
                MLflow cannot be reached and nothing was live before.
        """
        add_log_fields(config.server.service_name, "Registry")
        self._config = config
        self._observers = observers
        registry = config.registry
        log_in(registry.username, registry.password.get_secret_value())
        self._changed = ChangeSignal()
        models = ModelRegistry(registry.tracking_uri, registry.artifact_root, self._changed.set)
        directory = Path(registry.bundle_cache_dir)
        self._bundles = BundleServer(models.store, config.model.name, directory)
        initial = InitialVersion(config, models, self._bundles)
        self._driver = driver = ReleaseDriver(
            config.model.name,
            config.model.alias,
            models,
            observers,
            reviewed=config.feedback.enabled and config.feedback.audit_share > 0,
        )
        self._controller = RolloutController(
            fleet,
            self._bundles,
            driver.reject,
            RoutingTable(time.time_ns() // 1_000_000, initial.first()),
            config.rollout,
            alias=config.model.alias,
            drain_s=config.limits.max_deadline_ms / 1_000,
        )
        feed = ChangeFeed()
        self._proxy = ProxyServer(build_registry_app(config, models, feed))
        shown = CollectorRegistry()
        self._exporter = RayMetricsExporter(shown, make_gauge)
        self._reconciler = RegistryReconciler(
            config,
            models,
            self._changed,
            controller=self._controller,
            driver=driver,
            initial=initial,
            feed=feed,
            metrics=VersionMetrics(shown),
        )
        self._secrets: SecretWatch | None = None
        self._work: dict[str, Work] = {"reconcile": self._reconcile, "export": self._exporter.run}
        if watch_clock is not None:
            self._work["serve clock"] = watch_clock
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def routes(self) -> RoutingTable:
        """The present routing table."""
        self._run()
        return self._controller.routes

    async def check_health(self) -> None:
        """Serve calls this at the start and every few seconds.

        After a restart no replica asks for the table again, so this starts the loop as well.
        """
        self._run()

    async def read(self, digest: str, name: str, offset: int) -> bytes:
        """See ``BundleServer.read``."""
        return await self._bundles.read(digest, name, offset)

    async def call(self, call: Call) -> AsyncIterator[Part]:
        """Answers a registry request that an ingress forwards, see ``asgi/proxy.py``."""
        self._run()
        async for part in self._proxy.call(call):
            yield part
        if call.method not in ("GET", "HEAD"):
            self._changed.set()

    async def push(self, call_id: str, part: bytes, more: bool) -> bool:
        """Takes the next part of a forwarded request's body."""
        return await self._proxy.push(call_id, part, more)

    async def judge(self, prediction_id: str, label: str) -> FeedbackResult | None:
        """Judges an answer of any replica; None when none of them remembers it."""
        results = await self._observers.judge(prediction_id, label)
        found = next((result for result in results if result is not None), None)
        if found is None:
            self._driver.missed(FORGOTTEN)
        return found

    async def missed(self, why: str) -> None:
        """Notes that a judged answer counts for no release."""
        self._driver.missed(why)

    def _run(self) -> None:
        """Starts the background tasks that do not run."""
        self._changed.attach()
        if "trim" not in self._tasks:
            self._tasks["trim"] = give_memory_back()
        for name, work in self._work.items():
            task = self._tasks.get(name)
            if task is None or task.done():
                self._tasks[name] = keep_running(work, name)

    async def _reconcile(self) -> None:
        if self._config.registry.username:
            use = partial(log_in, self._config.registry.username)
            using = {"registry.password": use}
            self._secrets = await watch_secrets(self._config.vault, using)
        await self._reconciler.run()


def bind(config: AppConfig) -> Application:
    """The deployment; it finds the replicas that it changes when it first calls them."""
    stream, jobs = config.stream.enabled, config.jobs.enabled
    fleet = ReplicaSet(config.topology, stream=stream, jobs=jobs, insight=config.insight)
    observers = TextReplicas(stream=stream, jobs=jobs)
    registry = deployment(Registry, config.replicas.registry, replicas=1)
    watch_clock = partial(watch_serve_clock, controller_clock_s, restart_controller)
    return registry.bind(config, fleet, observers, ray_gauge, watch_clock)
