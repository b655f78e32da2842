"""Faults that an admin lets predictions have for a bounded time: late answers and errors.

Each is marked: the header ``X-Chaos``, the metric ``sentiment_injected_faults``, a log record with
the correlation id. Nothing but predictions over HTTP has them, so health, metrics and the switch
itself always work. A replica that starts anew makes none. The routes are in no OpenAPI document:
they are for trials of a staging server, not for clients.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, get_args

from fastapi import APIRouter
from prometheus_client import Counter
from pydantic import BaseModel, ConfigDict, Field

from configs.schema.chaos import ChaosConfig
from deployments.asgi.exchange import Exchange, Route
from deployments.errors import FeatureOff, InvalidInput, NotReady

HEADER = b"x-chaos"
Kind = Literal["latency", "error"]
# Settings, as they go from replica to replica.
Given = Mapping[str, Any] | None
_log = logging.getLogger("ray.serve.sentigraph")


class ChaosSettings(BaseModel):
    """Which faults, how often, how long."""

    model_config = ConfigDict(extra="forbid")

    probability: float = Field(0.1, ge=0, le=1, description="Of a prediction to have one.")
    latency_ms_max: int = Field(1_000, ge=1, le=30_000, description="A late one waits up to it.")
    chaos_types: list[Kind] = Field(list(get_args(Kind)), min_length=1)
    seconds: float = Field(60, gt=0, description="Until they end by themselves.")


class ChaosStatus(BaseModel):
    """What all ingress replicas do, and have done since they started or were reset."""

    enabled: bool
    seconds_left: float
    total_requests: int
    chaos_injected: int
    chaos_rate: float
    configured_probability: float
    latency_ms_max: int
    chaos_types: list[Kind]


class FaultInjector:
    """Of one replica."""

    def __init__(
        self,
        injected: Counter,
        chance: random.Random | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Counts in ``injected``; makes no fault until ``apply`` says so."""
        self._counted = injected
        self._chance = chance or random.Random()  # noqa: S311  (no secret)
        self._sleep = sleep
        self._settings = ChaosSettings()
        self._ends_s = 0.0
        self._total = self._injected = 0

    def over(self, routes: Mapping[str, Route]) -> dict[str, Route]:
        """The routes with faults."""

        def around(route: Route) -> Route:
            async def faulty(exchange: Exchange) -> None:
                await self._before(exchange)
                await route(exchange)

            return faulty

        return {path: around(route) for path, route in routes.items()}

    def apply(self, action: str, settings: Given = None) -> dict[str, Any]:
        """Does what a route asks for; returns this replica's status."""
        if settings is not None:
            self._settings = ChaosSettings.model_validate(settings)
        if action == "enable":
            self._ends_s = time.monotonic() + self._settings.seconds
        elif action in ("disable", "reset"):
            self._ends_s = 0.0
        if action == "reset":
            self._settings = ChaosSettings()
            self._total = self._injected = 0
        left_s = max(0.0, self._ends_s - time.monotonic())
        return {
            "seconds_left": round(left_s, 1),
            "total_requests": self._total,
            "chaos_injected": self._injected,
            "settings": self._settings.model_dump(),
        }

    async def _before(self, exchange: Exchange) -> None:
        self._total += 1
        if time.monotonic() >= self._ends_s or self._chance.random() >= self._settings.probability:
            return
        kind = self._chance.choice(self._settings.chaos_types)
        self._injected += 1
        self._counted.labels(kind).inc()
        exchange.marks = ((HEADER, kind.encode("ascii")),)
        _log.warning("fault injected", extra={"chaos": kind, "request": exchange.correlation_id})
        if kind == "latency":
            await self._sleep(self._chance.uniform(0, self._settings.latency_ms_max / 1_000))
        else:
            raise NotReady("this failure was made on purpose", {"chaos": kind})


class Injectors(Protocol):
    """All ingress replicas."""

    async def inject(self, action: str, settings: Given, everywhere: bool) -> list[dict[str, Any]]:
        """See ``FaultInjector.apply``; one answer of each."""
        ...


def chaos_routes(prefix: str, config: ChaosConfig, ingress: Injectors) -> APIRouter:
    """The routes; they need the role ``admin``."""
    api = APIRouter(prefix=f"{prefix}/chaos", include_in_schema=False)

    async def done(action: str, settings: ChaosSettings | None = None) -> ChaosStatus:
        if not config.enabled:
            raise FeatureOff("chaos is off on this server; chaos.enabled switches it on")
        if settings is not None and settings.seconds > config.max_seconds:
            raise InvalidInput(
                f"seconds is above chaos.max_seconds={config.max_seconds:g}",
                {"field": "seconds", "limit": config.max_seconds},
            )
        given = None if settings is None else settings.model_dump()
        return _sum(await ingress.inject(action, given, True))

    @api.get("/status")
    async def chaos_status() -> ChaosStatus:
        """What is done now, over all replicas."""
        return await done("status")

    @api.get("/types")
    async def chaos_types() -> list[str]:
        """The faults that there are."""
        await done("status")
        return list(get_args(Kind))

    @api.put("/config")
    async def configure_chaos(settings: ChaosSettings) -> ChaosStatus:
        """Other settings; they begin or end nothing."""
        return await done("config", settings)

    @api.post("/enable")
    async def enable_chaos(settings: ChaosSettings | None = None) -> ChaosStatus:
        """Begins, with these settings or those that were set before."""
        return await done("enable", settings)

    @api.post("/disable")
    async def disable_chaos() -> ChaosStatus:
        """Ends now."""
        return await done("disable")

    @api.post("/reset")
    async def reset_chaos() -> ChaosStatus:
        """Ends now; settings and counts are those of a new server."""
        return await done("reset")

    return api


def _sum(each: Sequence[Mapping[str, Any]]) -> ChaosStatus:
    total = sum(one["total_requests"] for one in each)
    injected = sum(one["chaos_injected"] for one in each)
    left_s = max(one["seconds_left"] for one in each)
    settings = each[0]["settings"]
    return ChaosStatus(
        enabled=left_s > 0,
        seconds_left=left_s,
        total_requests=total,
        chaos_injected=injected,
        chaos_rate=round(injected / total, 4) if total else 0.0,
        configured_probability=settings["probability"],
        latency_ms_max=settings["latency_ms_max"],
        chaos_types=settings["chaos_types"],
    )
