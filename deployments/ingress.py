"""The front door: every HTTP request enters here, and this file says where it goes.

Predictions take the short way (``predict.py``, raw ASGI), everything else goes through
FastAPI (``routes.py``). Around both: correlation id, metrics, one access line, one error
body. The outgoing side, to Cache, Tokenizer and Registry, is Ray Serve handles, wrapped so
that the classes behind know nothing of Ray.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from ray import serve
from ray.exceptions import RayActorError
from ray.serve import metrics as serve_metrics
from ray.serve.handle import DeploymentHandle
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from configs.schema import AppConfig
from deployments.access_log import AccessLog, beside_the_replica_log
from deployments.classifier import Classifier
from deployments.errors import InternalError, JobsOff, MethodNotAllowed, NotReady, RequestError
from deployments.exchange import ClientGone, Exchange
from deployments.jobs.api import BATCH_ENDPOINT, batch_routes, is_batch_path
from deployments.live import LiveModel
from deployments.metrics import Metrics
from deployments.oip import OIP, OpenInference
from deployments.outcome import Outcome
from deployments.payloads import Answer, TextBatch
from deployments.predict import Predict
from deployments.registry_app import (
    FORM_BYTES,
    REGISTRY_ENDPOINT,
    is_registry_path,
    registry_routes,
)
from deployments.relay import Relay
from deployments.remote import RemoteCache, RemoteRoutes, by_value
from deployments.router import Routes, routing_key
from deployments.routes import PREDICT, PREDICT_BATCH, build_app
from deployments.shadow import Shadow

# A child of Serve's logger: its format and files, but a level of its own.
_log = logging.getLogger("ray.serve.sentigraph")

_PROBE_BUDGET_S = 5.0
_PROBE_FRESH_S = 1.0


def _ray_gauge(name: str, text: str, labels: Sequence[str]) -> serve_metrics.Gauge:
    return serve_metrics.Gauge(name, text, tuple(labels))


@serve.ingress()
class Ingress:
    """The ingress deployment. Any number of replicas; each has its own level-one cache."""

    _access: AccessLog | None = None

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        config: AppConfig,
        *,
        hops_in_flight: int,
        engines: float,
        tokenizer: DeploymentHandle,
        registry: DeploymentHandle,
        cache: DeploymentHandle | None,
        jobs: DeploymentHandle | None = None,
    ) -> None:
        _log.setLevel(config.server.log_level)
        self._cors_origins = config.server.cors_origins
        logged = config.server.access_log and _log.isEnabledFor(logging.INFO)
        self._access = AccessLog(beside_the_replica_log()) if logged else None
        self._metrics = Metrics()
        self._cors_origins = config.server.cors_origins
        # Naming the method makes another handle: once, not for each call.
        self._classify = by_value(tokenizer).classify
        self._routes: Routes = await registry.routes.remote()
        self._shared = RemoteCache(cache) if cache is not None else None
        classifier = Classifier(
            config,
            self._run_texts,
            self._shared,
            self._metrics,
            hops_in_flight=hops_in_flight,
            engines=engines,
            is_lost=_is_lost,
        )
        self._shadow = Shadow(config, self._run_texts, self._metrics)
        predict = Predict(classifier, self._choose, self._answered, config.limits, self._metrics)
        self._predictions = {PREDICT: predict.one, PREDICT_BATCH: predict.batch}
        self._oip = OpenInference(
            predict, self._champion, self.ready, config.limits, config.server.app_name
        )
        self._relay = Relay(RemoteRoutes(registry, "the model registry"))
        self._jobs = Relay(RemoteRoutes(jobs, "the Jobs deployment")) if jobs is not None else None
        self._max_job_bytes = config.jobs.max_upload_bytes + FORM_BYTES
        self._max_body_bytes = config.limits.max_body_bytes
        self._max_form_bytes = config.registry.max_artifact_bytes + FORM_BYTES
        documented = [*registry_routes(config), *batch_routes()]
        self._app = build_app(config.server, config.limits, config.topology, self, documented)
        self._serve: Callable[[Exchange], Awaitable[None]] = self._route
        if config.access.required:
            # A second of imports that open access does not need.
            from deployments.gate import open_gate  # noqa: PLC0415

            self._gate = await open_gate(config, self._metrics)
            self._serve = self._gate.around(self._route)
        self._probed: tuple[float, dict[str, str]] | None = None
        self._mirroring = asyncio.create_task(self._metrics.mirror(_ray_gauge).run())
        self._metrics.model_loaded.set(1)
        self._show_versions()

    def __serve_build_asgi_app__(self) -> object:
        """Serve calls this for the ASGI application, once the replica is made."""

        app: ASGIApp = self._handle
        if self._cors_origins:
            app = CORSMiddleware(
                app, allow_origins=self._cors_origins, allow_methods=["*"], allow_headers=["*"]
            )

        # uvicorn takes a bound method for the two-step ASGI 2 interface.
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)

        return application

    async def route(self, routes: Routes) -> int:
        """Takes a newer routing table; the epoch that now stands."""
        if routes.epoch >= self._routes.epoch and routes != self._routes:
            self._routes = routes
            self._probed = None
            self._show_versions()
        return self._routes.epoch

    def routes(self) -> Routes:
        """Which version answers what."""
        return self._routes

    def _champion(self) -> LiveModel:
        return self._routes.champion

    def _choose(self, exchange: Exchange, texts: Sequence[str]) -> LiveModel:
        if self._routes.challenger is None:
            return self._routes.champion
        return self._routes.choose(routing_key(exchange.header("x-routing-key"), texts))

    def _answered(
        self,
        exchange: Exchange,
        model: LiveModel,
        texts: Sequence[str],
        outcomes: Sequence[Outcome | RequestError],
    ) -> None:
        """After an answer: the shadow version may be asked the same."""
        routes = self._routes
        if routes.shadow is None or model != routes.champion:
            return
        shadow = routes.shadowed(routing_key(exchange.header("x-routing-key"), texts))
        if shadow is not None:
            pairs = zip(texts, outcomes, strict=True)
            answered = [(text, found) for text, found in pairs if isinstance(found, Outcome)]
            self._shadow.compare(shadow, model, answered)

    def _show_versions(self) -> None:
        routes = self._routes
        slots = [slot.model for slot in (routes.challenger, routes.shadow) if slot is not None]
        self._metrics.model_version.clear()
        for live in (routes.champion, *slots):
            self._metrics.model_version.labels(live.name, str(live.version), live.digest).set(1)

    def metrics_page(self) -> bytes:
        """The Prometheus text page of this replica."""
        return self._metrics.page()

    async def ready(self) -> dict[str, str]:
        """Classifies a fixed text on the real stages; an answer is good for a second.

        Raises:
            NotReady: The tokenizer or the model did not answer in time.
        """
        now = time.monotonic()
        if self._probed is not None and now - self._probed[0] < _PROBE_FRESH_S:
            return self._probed[1]
        budget_s = np.array([_PROBE_BUDGET_S], dtype=np.float32)
        probe = TextBatch(self._routes.champion.digest, ["ready?"], budget_s, np.array([False]))
        try:
            await asyncio.wait_for(self._run_texts(probe), _PROBE_BUDGET_S)
        except Exception as error:
            self._metrics.model_loaded.set(0)
            _log.warning("readiness probe failed: %s", _cause(error))
            raise NotReady("the model stage does not answer") from error
        self._metrics.model_loaded.set(1)
        checks = {"model": "ok", "registry": "ok"}
        if self._routes.registry_away or self._routes.champion.source == "last_known":
            checks["registry"] = "degraded: MLflow did not answer, last known version is served"
        if self._shared is not None:
            checks["cache"] = await self._check_cache(self._shared)
        self._probed = (now, checks)
        return checks

    async def _check_cache(self, shared: RemoteCache) -> str:
        try:
            await asyncio.wait_for(shared.get_many([b""]), _PROBE_FRESH_S)
        except Exception as error:  # noqa: BLE001  (whatever it is, the cache is what is degraded)
            return f"degraded: {type(_cause(error)).__name__}, predictions go on without it"
        return "ok"

    async def _run_texts(self, batch: TextBatch) -> Answer:
        answer: Answer = await self._classify.remote(batch)
        return answer

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Every request, and Starlette's lifespan messages."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        self._metrics.active_requests.inc()
        try:
            await self._serve(exchange)
        except RequestError as error:
            if error.status >= 500 and error.__cause__ is not None:
                _log.error("request failed: %s", _cause(error.__cause__))
            await exchange.fail(error)
        except ClientGone:
            exchange.status = exchange.status or 499  # nobody is there to be told
        except asyncio.CancelledError:
            exchange.status = exchange.status or 499
            raise
        except Exception:  # noqa: BLE001
            # The last resort. Details belong in the log, not in the answer.
            _log.exception("unhandled error")
            await exchange.fail(InternalError("the request could not be answered"))
        finally:
            self._finish(exchange)

    async def _route(self, exchange: Exchange) -> None:
        predict = self._predictions.get(exchange.path)
        if predict is None and (exchange.path + "/").startswith(f"{OIP}/"):
            await self._oip.handle(exchange)
            return
        if predict is None and is_registry_path(exchange.path):
            exchange.endpoint = REGISTRY_ENDPOINT
            limit = self._limit(exchange, self._max_form_bytes)
            await self._relay.forward(exchange, max_bytes=limit)
            return
        if predict is None and is_batch_path(exchange.path):
            exchange.endpoint = BATCH_ENDPOINT
            if self._jobs is None:
                raise JobsOff("batch jobs are off on this server; jobs.enabled switches them on")
            limit = self._limit(exchange, self._max_job_bytes)
            await self._jobs.forward(exchange, max_bytes=limit)
            return
        if predict is None:
            exchange.scope["sentigraph.exchange"] = exchange
            await self._app(exchange.scope, exchange.receive, exchange.send)
            route = exchange.scope.get("route")
            exchange.endpoint = getattr(route, "path", exchange.endpoint)
            return
        exchange.endpoint = exchange.path
        if exchange.method != "POST":
            raise MethodNotAllowed(
                f"{exchange.method} is not allowed here; use POST", {"allow": "POST"}
            )
        await predict(exchange)

    def _limit(self, exchange: Exchange, form_bytes: int) -> int:
        form = (exchange.header("content-type") or "").startswith("multipart/form-data")
        return form_bytes if form else self._max_body_bytes

    def _finish(self, exchange: Exchange) -> None:
        elapsed_s = time.monotonic() - exchange.started_s
        metrics = self._metrics
        method = exchange.method if exchange.status != 405 else "other"
        metrics.active_requests.dec()
        metrics.count_request(exchange.endpoint, method, exchange.status, elapsed_s)
        if self._access is not None:
            self._access.add(
                exchange.method,
                exchange.endpoint,
                exchange.status,
                elapsed_s,
                exchange.correlation_id,
            )

    def __del__(self) -> None:
        """Serve calls this when it stops the replica."""
        if self._access is not None:
            self._access.flush()


def _is_lost(error: Exception) -> bool:
    """Whether a replica died under a call; one hop further its error arrives as a cause."""
    return isinstance(error, RayActorError) or isinstance(_cause(error), RayActorError)


def _cause(error: BaseException) -> BaseException:
    """The error that a remote replica raised, without Ray's wrapping and its traceback."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error
