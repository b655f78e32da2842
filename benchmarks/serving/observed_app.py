"""The graph of ``deployments/app.py`` whose ingress can switch what it tells about itself.

For ``benchmarks/serving/telemetry_cost.py``: parts are switched in the running replica, so both
sides of a comparison are the same processes, seconds apart. ``POST /observe/metrics,logs`` leaves
those on.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import prometheus_client as prometheus
from ray.serve import Application
from starlette.types import Receive, Scope, Send

from deployments import app
from deployments.ingress import deployment as ingress
from deployments.ingress.access_log import AccessLog
from deployments.ingress.deployment import Ingress
from deployments.telemetry.ray_export import RayMetricsExporter
from deployments.telemetry.tracer import Tracer

SWITCH = "/observe/"
_COUNTING = ((prometheus.Counter, "inc"), (prometheus.Histogram, "observe"))
_GAUGING = ((prometheus.Gauge, "inc"), (prometheus.Gauge, "dec"), (prometheus.Gauge, "set"))
# The copies for Ray go on every ten seconds, whatever is switched when.
_COPYING = ((RayMetricsExporter, "copy"),)


def _nothing(*_: object, **__: object) -> None:
    """What a metric does that is off."""


class SwitchedIngress(Ingress):
    """The ingress of the split topology, with a switch."""

    _parts: tuple[AccessLog | None, Tracer | None] | None = None

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(SWITCH):
            self._switch(scope["path"].removeprefix(SWITCH).split(","))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await super()._handle(scope, receive, send)

    def _switch(self, on: list[str]) -> None:
        if self._parts is None:
            self._parts = self._access, self._tracer
        access, tracer = self._parts
        self._access = access if "logs" in on else None
        self._tracer = tracer if "traces" in on else None
        for owner, name, written in _METHODS:
            setattr(owner, name, written if "metrics" in on else _nothing)


_METHODS: list[tuple[type, str, Callable[..., Any]]] = [
    (owner, name, getattr(owner, name)) for owner, name in (*_COUNTING, *_GAUGING, *_COPYING)
]


def build(args: Mapping[str, object]) -> Application:
    """See ``deployments.app.build``."""
    with contextlib.ExitStack() as undo:
        undo.callback(setattr, ingress, "Ingress", Ingress)
        ingress.Ingress = SwitchedIngress  # type: ignore[misc]
        return app.build(args)
