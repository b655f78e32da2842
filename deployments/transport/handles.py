"""The other deployments, behind the plain interfaces of the classes that call them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ray import serve
from ray.exceptions import RayActorError
from ray.serve import metrics as serve_metrics
from ray.serve.handle import DeploymentHandle

from configs.schema.app import AppConfig
from deployments.asgi.proxy import Call, Part
from deployments.bundles import BundleCache
from deployments.errors import MonitoringAway, NotReady, cause
from deployments.inference.review_draw import review_draw
from deployments.inference.traffic_counter import TrafficCounter
from deployments.payloads import (
    Correction,
    Counts,
    FeedbackRecord,
    FeedbackResult,
    Probe,
    RunTexts,
    StreamStatus,
    TrafficDelta,
)
from deployments.prediction_log.rows import Source
from deployments.telemetry.figures import figures_of
from deployments.telemetry.metrics import Metrics
from deployments.versions import RoutingTable

_STATUS_S = 2.0
_DELTA_S = 10.0


def by_value(handle: DeploymentHandle) -> DeploymentHandle:
    """The handle for RPCs on the request path: by value, with plain pickle.

    Below 1 MB this costs half of an RPC through the object store.
    """
    return handle.options(
        _by_reference=False, request_serialization="pickle", response_serialization="pickle"
    )


def ray_gauge(name: str, text: str, labels: Sequence[str]) -> serve_metrics.Gauge:
    """A gauge that Ray exports."""
    return serve_metrics.Gauge(name, text, tuple(labels))


class RemoteCache:
    """``SharedCache`` in the Cache deployment."""

    def __init__(self, handle: DeploymentHandle) -> None:
        # Naming a method makes another handle, so it is done once, not for each call.
        cache = by_value(handle)
        self.get_many = cache.get_many.remote
        self.put_many = cache.put_many.remote
        self.flush = cache.flush.remote


class RemoteRoutes:
    """``Upstream`` in the Registry or the Jobs deployment."""

    def __init__(self, handle: DeploymentHandle, what: str) -> None:
        self._handle = handle
        self._what = what

    async def call(self, call: Call) -> AsyncIterator[Part]:
        """See ``Upstream.call``."""
        answer = self._handle.options(stream=True).call.remote(call)
        try:
            async for part in answer:
                yield part
        except RayActorError as error:
            raise NotReady(f"{self._what} does not answer; try again in a few seconds") from error
        finally:
            answer.cancel()

    async def push(self, call_id: str, part: bytes, more: bool) -> bool:
        """See ``Upstream.push``."""
        wanted: bool = await self._handle.push.remote(call_id, part, more)
        return wanted


class RemoteRegistry(RemoteRoutes):
    """The Registry deployment, seen from the ingress."""

    def __init__(self, handle: DeploymentHandle) -> None:
        super().__init__(handle, "the model registry")

    async def judge(self, prediction_id: str, label: str) -> FeedbackResult | None:
        """Judges an answer of any replica; None when none remembers it."""
        found: FeedbackResult | None = await self._handle.judge.remote(prediction_id, label)
        return found


class RemoteInsight(RemoteRoutes):
    """The Insight deployment, seen from the replicas that take texts."""

    def __init__(self, handle: DeploymentHandle) -> None:
        super().__init__(handle, "the Insight deployment")

    async def correct(self, said: Correction) -> FeedbackResult | None:
        """Keeps what a caller says of an answer; None when no answer of that id can be judged.

        Raises:
            MonitoringAway: It does not answer.
        """
        try:
            found: FeedbackResult | None = await self._handle.correct.remote(said)
        except Exception as error:
            raise MonitoringAway("feedback is not taken now; try again in a few seconds") from error
        return found

    async def health(self) -> dict[str, bool]:
        """Whether each part works, by its name in the specification; empty while it is away."""
        try:
            found: dict[str, bool] = await asyncio.wait_for(self._handle.health.remote(), _STATUS_S)
        except Exception:  # noqa: BLE001  (whatever it was, nothing is healthy)
            return {}
        return found

    async def unpublished(self, most: int) -> list[FeedbackRecord]:
        """Feedback that no topic has taken."""
        found: list[FeedbackRecord] = await self._handle.unpublished.remote(most)
        return found

    async def published(self, event_ids: Sequence[str]) -> None:
        """Marks feedback that the topic has taken."""
        await self._handle.published.remote(event_ids)


def start_counting(
    config: AppConfig, metrics: Metrics, insight: DeploymentHandle | None, source: Source
) -> TrafficCounter | None:
    """Begins to count a replica's answers for the Insight deployment; None where there is none."""
    draw = review_draw(config.feedback, source)
    if insight is None or not (config.drift.enabled or draw or config.kpis.enabled):
        return None
    add = by_value(insight).add

    async def send(delta: TrafficDelta) -> bool:
        try:
            await asyncio.wait_for(add.remote(delta), _DELTA_S)
        except Exception:  # noqa: BLE001  (whatever it was, the delta is sent again)
            return False
        return True

    counter = TrafficCounter(
        config.drift.report_interval_s,
        metrics.insight,
        histograms=config.drift.enabled,
        draw=draw,
        totals=partial(figures_of, metrics) if config.kpis.enabled else None,
        name=config.model.name,
    )
    counter.start(send)
    return counter


def bundle_cache(config: AppConfig, registry: DeploymentHandle) -> BundleCache:
    """The bundles on this node, filled from the Registry deployment."""
    return BundleCache(Path(config.registry.bundle_cache_dir), by_value(registry).read.remote)


async def load_live(registry: DeploymentHandle, load: Callable[[str], Awaitable[None]]) -> None:
    """Loads the bundles of the routing table, the champion's first."""
    routes: RoutingTable = await registry.routes.remote()
    champion = routes.champion.digest
    for digest in (champion, *sorted(routes.digests - {champion})):
        await load(digest)


def remote_tokenizer(handle: DeploymentHandle | None) -> RunTexts:
    """The tokenizer stage: its deployment, or without one the ingress's replicas (fused)."""
    if handle is None:
        application = serve.get_replica_context().app_name
        handle = serve.get_deployment_handle("Ingress", application)
    classify: RunTexts = by_value(handle).classify.remote
    return classify


class RemoteStream:
    """The Stream deployment, seen from the ingress."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def status(self) -> list[StreamStatus]:
        """One for each replica.

        Raises:
            NotReady: They do not answer.
        """
        answers = self._handle.broadcast("status").results_async()
        try:
            found: list[StreamStatus] = await asyncio.wait_for(answers, _STATUS_S)
        except Exception as error:
            raise NotReady("the stream replicas do not answer") from error
        return found

    async def check(self) -> str:
        """The health of streams in one line; none of it concerns HTTP."""
        try:
            return stream_health(await self.status())
        except NotReady as error:
            return f"degraded: {error.message}, HTTP goes on without them"


def stream_health(replicas: Sequence[StreamStatus]) -> str:
    """The health of streams in one line."""
    away = sum(not replica.connected for replica in replicas)
    if not away:
        return "ok"
    said = f"Kafka does not answer {away} of {len(replicas)} stream replicas"
    return f"degraded: {said}, HTTP goes on without it"


def is_lost(error: Exception) -> bool:
    """Whether a replica died under a call; one hop further its error arrives as a cause."""
    return isinstance(error, RayActorError) or isinstance(cause(error), RayActorError)


class ReplicaSet:
    """``Fleet`` of the running application. Finds its deployments when first used."""

    def __init__(self, topology: str, *, stream: bool, jobs: bool, insight: bool) -> None:
        # Models before tokenizers: a tokenizer's replica may ask a model at once.
        self._holders = ("Model", "Tokenizer") if topology == "split" else ("Ingress",)
        behind = (("Stream", stream), ("Jobs", jobs), ("Insight", insight))
        self._behind = [name for name, on in behind if on]

    async def load(self, digest: str) -> None:
        """See ``Fleet.load``."""
        for name in self._holders:
            await _every(name, "load", digest)

    async def probe(self, digest: str, texts: Sequence[str]) -> list[Probe]:
        """See ``Fleet.probe``."""
        return await _every(self._holders[0], "probe", digest, list(texts))

    async def route(self, routes: RoutingTable) -> list[int]:
        """See ``Fleet.route``; texts come through the ingress, and from Kafka and jobs."""
        epochs: list[int] = []
        for name in self._behind:
            # A replica that is away takes the present table when it starts.
            with contextlib.suppress(RayActorError):
                epochs += await _every(name, "route", routes)
        return epochs + await _every("Ingress", "route", routes)

    async def unload(self, digest: str) -> None:
        """See ``Fleet.unload``."""
        for name in reversed(self._holders):
            await _every(name, "unload", digest)


class TextReplicas:
    """All replicas of the running application that take texts from callers."""

    def __init__(self, *, stream: bool, jobs: bool) -> None:
        self._beside = [name for name, on in (("Stream", stream), ("Jobs", jobs)) if on]

    async def forget(self, model: bytes) -> int:
        """See ``TextReplica.forget``; the sum over all replicas."""
        return sum(await self._all("forget", model))

    async def observed(self, digest: str) -> list[Counts]:
        """See ``Observers.observed``."""
        return await self._all("observed", digest)

    async def judge(self, prediction_id: str, label: str) -> list[FeedbackResult | None]:
        """See ``Observers.judge``."""
        return await self._all("judge", prediction_id, label)

    async def inject(self, action: str, settings: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        """See ``FaultInjector.apply``; of each ingress."""
        return await _every("Ingress", "inject", action, settings, False)

    async def _all(self, method: str, *args: object) -> list[Any]:
        answers: list[Any] = []
        for name in self._beside:
            # What a replica that is away has counted or remembered is lost with it.
            with contextlib.suppress(RayActorError):
                answers += await _every(name, method, *args)
        return answers + await _every("Ingress", method, *args)


async def _every(deployment: str, method: str, *args: object) -> list[Any]:
    """Calls every replica of a deployment of this application; raises what one of them raises."""
    application = serve.get_replica_context().app_name
    handle = serve.get_deployment_handle(deployment, application)
    answers: list[Any] = await handle.broadcast(method, *args).results_async()
    return answers
