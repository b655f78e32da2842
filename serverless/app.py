"""The lite server as an ASGI application.

    bytes ─▶ access ─▶ PredictRoutes ─▶ Predictor ─▶ Classifier ─▶ LocalStages

All but the last is what the graph's ingress has, so an answer is the graph's: its scores, its
errors, its headers. For one event loop.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import orjson
from starlette.types import Receive, Scope, Send

from configs.schema.app import AppConfig
from deployments.access.roles import rule_of
from deployments.asgi.exchange import ClientGone, Exchange, Route
from deployments.errors import (
    InternalError,
    MethodNotAllowed,
    NotFound,
    NotReady,
    RequestError,
    cause,
)
from deployments.inference.classifier import Classifier
from deployments.inference.predictor import Predictor
from deployments.ingress.predict import PredictRoutes
from deployments.predictions import Answer
from deployments.telemetry.metrics import Metrics
from deployments.versions import BACKENDS, CurrentRoutes, RoutingTable, ServedVersion
from serverless.errors import NotInLite
from serverless.stages import LocalStages

_log = logging.getLogger("sentigraph.lite")
_PREFIX = "/api/v1"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_READY_S = 10.0


class _NoCandidates:
    def answered(
        self,
        model: ServedVersion,
        answers: Sequence[Answer | RequestError],
        keys: Sequence[bytes],
    ) -> None:
        """There are no candidates to judge."""


class LiteApp:
    """Answers HTTP requests with one bundle."""

    def __init__(
        self, config: AppConfig, folder: Path | None = None, *, version: int = 1, threads: int = 1
    ) -> None:
        """Opens the bundle; the first answer then takes milliseconds.

        Args:
            config: Limits, cache, access, as of the graph.
            folder: The bundle; the bundled model without one.
            version: Number that answers name; a bundle alone does not know that of a registry.
            threads: Of the engine.

        Raises:
            RegistryError: The bundle cannot be opened.
        """
        self._config = config
        self._stages = LocalStages(
            folder or Path(config.registry.bundled_model_dir),
            config,
            version=version,
            threads=threads,
        )
        self.model = self._stages.model
        self._metrics = Metrics()
        classifier = Classifier(
            config, self._stages.run_texts, None, self._metrics, hops_in_flight=2, engines=1
        )
        self._predictor = Predictor(
            classifier,
            CurrentRoutes(RoutingTable(1, self.model)),
            _NoCandidates(),
            config.limits,
            self._metrics,
            source="http",
        )
        predict = PredictRoutes(self._predictor, config.limits)
        self._posts: dict[str, Route] = {
            f"{_PREFIX}/predict": predict.one,
            f"{_PREFIX}/predict/batch": predict.batch,
        }
        self._gets: dict[str, Callable[[Exchange], Awaitable[object]]] = {
            "/": self._service,
            f"{_PREFIX}/models/live": self._live,
            f"{_PREFIX}/health/live": self._alive,
            f"{_PREFIX}/health/ready": self._ready,
        }
        if config.server.metrics_enabled:
            self._gets |= {"/metrics": self._page, f"{_PREFIX}/metrics": self._page}
        self._serve: Route | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the messages of ASGI's lifespan."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        exchange = Exchange(scope, receive, send)
        try:
            await (self._serve or await self._open())(exchange)
        except RequestError as error:
            if error.status >= 500 and error.__cause__ is not None:
                _log.error("request failed: %s", cause(error.__cause__))
            await exchange.fail(error)
        except ClientGone:
            exchange.status = exchange.status or 499
        except Exception:  # noqa: BLE001  (the last resort; details belong in the log)
            _log.exception("unhandled error")
            await exchange.fail(InternalError("the request could not be answered"))

    def close(self) -> None:
        """Ends the engine's thread."""
        self._stages.close()

    async def _open(self) -> Route:
        """The routes behind what ``access`` asks for."""
        self._serve = self._route
        if self._config.access.required:
            # Packages that open access does not need.
            from deployments.access.middleware import open_gate  # noqa: PLC0415

            gate = await open_gate(self._config, self._metrics)
            self._serve = gate.around(self._route)
        return self._serve

    async def _route(self, exchange: Exchange) -> None:
        path, posts, gets = exchange.path, self._posts, self._gets
        if path not in posts and path not in gets:
            if rule_of(path) is None:
                raise NotFound("there is no such route")
            raise NotInLite("a lite server does not have this; the graph does")
        exchange.endpoint = path
        allowed = "POST" if path in posts else "GET"
        if exchange.method != allowed:
            raise MethodNotAllowed.of(exchange.method, allowed)
        if path in posts:
            await posts[path](exchange)
            return
        found = await gets[path](exchange)
        if isinstance(found, bytes):
            await exchange.answer(200, found, content_type=_TEXT)
        else:
            await exchange.answer(200, orjson.dumps(found))

    async def _service(self, _: Exchange) -> object:
        return {
            "service": self._config.server.app_name,
            "version": "lite",
            "status": "operational",
            "docs_url": None,
            "console_url": None,
            "health_url": f"{_PREFIX}/health/ready",
        }

    async def _live(self, _: Exchange) -> object:
        model = self.model
        champion = {
            "name": model.name,
            "version": model.version,
            "digest": model.digest,
            "labels": model.labels,
            "task": model.head.task,
            "activation": model.head.activation,
            "thresholds": model.head.thresholds,
            "backend": BACKENDS[model.kind],
            "precision": model.precision,
            "max_tokens": model.max_tokens,
            "source": model.source,
        }
        none = {"challenger": None, "challenger_weight": 0, "shadow": None, "shadow_weight": 0}
        return {"champion": champion, **none, "epoch": 1, "topology": "lite"}

    async def _alive(self, _: Exchange) -> object:
        return {"status": "alive", "checks": {}}

    async def _ready(self, exchange: Exchange) -> object:
        # ``can_answer`` classifies on the real stages.
        if not await self._predictor.can_answer(exchange.started_s + _READY_S):
            raise NotReady("the model does not answer")
        return {"status": "ready", "checks": {"model": "ok"}}

    async def _page(self, _: Exchange) -> object:
        return self._metrics.page(0)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
