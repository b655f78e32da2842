"""The Ingress deployment: every HTTP request and gRPC call enters here.

Predictions are answered in raw ASGI (``predict.py``), the Open Inference Protocol by ``oip/``, all
else by FastAPI (``routes.py``) or by the deployment that it is mounted from. Around all of them:
correlation id, metrics, one access line, one error body. Other deployments are called by classes
that know nothing of Ray; in ``fused.py`` Tokenizer and Model are in the same process.
"""

import asyncio
import logging
import time
from functools import partial
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from configs.load import own_front_key
from configs.schema.app import AppConfig
from deployments.access.client_address import own_addresses
from deployments.asgi.exchange import ClientGone, Exchange, Route
from deployments.asgi.upload import Uploads
from deployments.autoscaling import FAST_REQUESTS
from deployments.cache.invalidation import Flushed, flush
from deployments.errors import Forbidden, InternalError, MethodNotAllowed, RequestError, cause
from deployments.inference.second_try import SecondTry
from deployments.ingress.access_log import AccessLog, beside_the_replica_log
from deployments.ingress.chaos import FaultInjector, Given
from deployments.ingress.disk import full_disk, kept_folders
from deployments.ingress.fast_path import FastPath
from deployments.ingress.fast_protocol import open_fast_path
from deployments.ingress.health import Readiness, watched_parts
from deployments.ingress.mounts import Upstreams, mounted
from deployments.ingress.predict import PredictRoutes
from deployments.ingress.routes import PREDICT, PREDICT_BATCH, build_app, without_last_slash
from deployments.ingress.spans import end_request
from deployments.oip.grpc_service import GrpcMethods, GrpcService
from deployments.oip.routes import OIP, OpenInference
from deployments.payloads import Correction, FeedbackResult, RunTexts, StreamStatus
from deployments.serve_options import AsyncReplica, EngineShare, deployment, engine_share
from deployments.telemetry.background import keep_running
from deployments.telemetry.log_context import REQUEST, add_log_fields
from deployments.telemetry.malloc import give_memory_back, map_large_pieces
from deployments.telemetry.metrics import Metrics
from deployments.text_replica import TextReplica
from deployments.transport.handles import (
    RemoteCache,
    RemoteInsight,
    RemoteRegistry,
    RemoteRoutes,
    RemoteStream,
    TextReplicas,
    is_lost,
    ray_gauge,
    remote_tokenizer,
    start_counting,
)
from deployments.transport.stage_handles import open_stages
from deployments.versions import RoutingTable

# A child of Serve's logger: its format and files, but a level of its own.
_log = logging.getLogger("ray.serve.sentigraph")


@serve.ingress()
class Ingress(AsyncReplica, TextReplica, GrpcMethods):
    """The ingress deployment. Any number of replicas; each has its own level-one cache."""

    _access: AccessLog | None = None
    _fast: FastPath | None = None

    async def setup(
        self, config: AppConfig, share: EngineShare, upstreams: Upstreams[DeploymentHandle]
    ) -> None:
        """Makes the replica; ``share`` is its part of the model stage."""
        cache, stream, registry = upstreams.cache, upstreams.stream, upstreams.registry
        self._metrics = Metrics()
        run_texts = await self.open_stages(config, share, upstreams)
        _log.setLevel(config.server.log_level)
        map_large_pieces()
        logged = config.server.access_log and _log.isEnabledFor(logging.INFO)
        fields = add_log_fields(config.server.service_name, "Ingress")
        self._access = AccessLog(beside_the_replica_log(), fields) if logged else None
        self._page_life_s = config.server.metrics_cache_ms / 1_000
        self._limits = config.limits
        self._cors_origins = config.server.cors_origins
        self._front_only = config.server.front_only
        self._addresses = own_addresses(config, own_front_key())
        self._shared = RemoteCache(cache) if cache is not None else None
        self._stream = RemoteStream(stream) if stream is not None else None
        self.open(
            config,
            "Ingress",
            run_texts=run_texts,
            table=await registry.routes.remote(),
            share=share,
            metrics=self._metrics,
            shared=self._shared,
            traffic=start_counting(config, self._metrics, upstreams.insight, "http"),
            stages=self.stages,
            is_lost=is_lost,
        )
        self._readiness = Readiness(
            run_texts, self.routes, self._metrics, cache=self._shared, stream=self._stream
        )
        self._readiness.disk = partial(full_disk, kept_folders(config))
        self._readiness.silent = self.stages.silent if self.stages else tuple
        predict = PredictRoutes(self._predictor, config.limits)
        self._predictions: dict[str, Route] = {PREDICT: predict.one, PREDICT_BATCH: predict.batch}
        self._faults = FaultInjector(self._metrics.injected_faults)
        if config.chaos.enabled:
            self._predictions = self._faults.over(self._predictions)
        self._oip = OpenInference(
            self._predictor, self._routes, self.ready, config.limits, config.server.app_name
        )
        self._grpc: Route = GrpcService(self._oip, self.ready, config.limits).handle
        self._registry = RemoteRegistry(registry)
        self._insight = RemoteInsight(upstreams.insight) if upstreams.insight else None
        self._kept_feedback = self._insight if config.feedback.enabled else None
        self._watched = watched_parts(config)
        self._replicas = TextReplicas(stream=config.stream.enabled, jobs=config.jobs.enabled)
        self._mounts = mounted(upstreams, RemoteRoutes, config.limits.max_body_bytes, Uploads())
        documented = [route for mount, _ in upstreams.mounts for route in mount.routes(config)]
        self._app = build_app(config, self, documented)
        self._serve: Route = self._route
        if config.access.required:
            # A second of imports that open access does not need.
            from deployments.access.middleware import open_gate  # noqa: PLC0415

            self._gate = await open_gate(config, self._metrics)
            self._serve = self._gate.around(self._route)
            self._grpc = self._gate.around(self._grpc)
            self._readiness.secrets = self._gate.secrets_state
        if config.server.fast_path:
            run = partial(self._run, serve=self._serve)
            self._fast = open_fast_path(run, tuple(self._predictions), config)
        self._beside = [
            keep_running(self._metrics.mirror(ray_gauge).run, "copying metrics to Ray"),
            give_memory_back(),
        ]
        self._metrics.model_loaded.set(1)
        self._metrics.versions.serve(self._routes.table)

    async def open_stages(
        self, config: AppConfig, share: EngineShare, upstreams: Upstreams[DeploymentHandle]
    ) -> RunTexts:
        """The tokenizer stage; here Tokenizer and Model are deployments."""
        if upstreams.tokenizer is not None:
            self.stages = await open_stages(
                config, "Ingress", upstreams.tokenizer, self._metrics, share.hops_in_flight
            )
        return SecondTry(remote_tokenizer(upstreams.tokenizer), self._metrics.retries.inc).run

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

    async def route(self, routes: RoutingTable) -> int:
        """Takes a newer routing table; returns the epoch of the present one."""
        if routes != self._routes.table and await super().route(routes) == routes.epoch:
            self._readiness.forget()
            self._metrics.versions.serve(self._routes.table)
        return self._routes.table.epoch

    async def flush(self, digest: str) -> Flushed:
        """See ``cache.invalidation.flush``."""
        return await flush(digest, self._replicas.forget, self._shared)

    async def inject(self, action: str, settings: Given, everywhere: bool) -> Any:
        """See ``FaultInjector.apply``; of this replica, or of each ingress replica."""
        if everywhere:
            return await self._replicas.inject(action, settings)
        return self._faults.apply(action, settings)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Requests of which Ray Serve does not know; see ``deployments/autoscaling.py``."""
        return {FAST_REQUESTS: self._fast.running if self._fast is not None else 0}

    def routes(self) -> RoutingTable:
        """Which version answers what."""
        return self._routes.table

    async def feedback(self, prediction_id: str, label: str, comment: str) -> FeedbackResult | None:
        """Judges an answer of any replica; None when none remembers it."""
        if self._kept_feedback is not None:
            actor = getattr(REQUEST.get(), "caller", None) or ""
            said = Correction(prediction_id, label, actor, comment)
            return await self._kept_feedback.correct(said)
        found = self._observer.judge(prediction_id, label)
        return found or await self._registry.judge(prediction_id, label)

    async def watching(self) -> dict[str, tuple[bool, bool]]:
        """Of each part that watches: whether it is on, and whether it works."""
        found = {} if self._insight is None else await self._insight.health()
        return self._watched(found, registry=not self._routes.table.registry_away)

    def metrics_page(self) -> bytes:
        """The Prometheus text page of this replica."""
        return self._metrics.page(self._page_life_s)

    async def ready(self) -> dict[str, str]:
        """See ``Readiness.checks``."""
        return await self._readiness.checks()

    async def streams(self) -> list[StreamStatus] | None:
        """The status of each replica that reads Kafka; None where none does, or ``NotReady``."""
        return None if self._stream is None else await self._stream.status()

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Every request, and Starlette's lifespan messages."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._fast is not None:
            self._fast.learn(scope)
        await self._run(Exchange(without_last_slash(scope), receive, send), self._serve)

    async def _run(self, exchange: Exchange, serve: Route) -> None:
        """Every HTTP request and gRPC call."""
        self._metrics.active_requests.inc()
        if self._tracer is not None:
            exchange.trace = self._tracer.begin(exchange.path, exchange.header)
        REQUEST.set(exchange)
        try:
            exchange.address, from_front = self._addresses.of(exchange)
            if self._front_only and not from_front:
                raise Forbidden("requests are taken through HAProxy only")
            await serve(exchange)
        except RequestError as error:
            if error.status >= 500 and error.__cause__ is not None:
                _log.error("request failed: %s", cause(error.__cause__))
            await exchange.fail(error)
        except ClientGone:
            exchange.status = exchange.status or 499  # the client has left
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
        if predict is None:
            for mounted in self._mounts:
                if mounted.answers(exchange.path):
                    await mounted.forward(exchange)
                    return
            await exchange.gather(self._limits)
            await self._app(exchange.scope, exchange.receive, exchange.send)
            route = exchange.scope.get("route")
            exchange.endpoint = getattr(route, "path", exchange.endpoint)
            return
        exchange.endpoint = exchange.path
        if exchange.method != "POST":
            raise MethodNotAllowed.of(exchange.method, "POST")
        self._metrics.predict_requests.labels(exchange.way).inc()
        await predict(exchange)

    def _finish(self, exchange: Exchange) -> None:
        elapsed_s = time.monotonic() - exchange.started_s
        self._metrics.active_requests.dec()
        self._metrics.count_request(
            exchange.endpoint, exchange.counted_method, exchange.status, elapsed_s
        )
        if self._access is not None:
            self._access.add(exchange, elapsed_s)
        end_request(exchange)

    def __del__(self) -> None:
        """Serve calls this when it stops the replica."""
        if self._access is not None:
            self._access.flush()
        self.close()


def bind(config: AppConfig, upstreams: Upstreams[Application]) -> Application:
    """The deployment of the split topology."""
    size = config.replicas.ingress
    ingress = deployment(Ingress, size, name="Ingress", scaling=config.autoscaling)
    return ingress.bind(config, engine_share(config, size), upstreams)
