"""Decides once, where a request or message comes in, whether it is traced.

    ingress, stream ─▶ Tracer.begin ─▶ Trace or None ─▶ Dispatcher ─▶ Tokenizer ─▶ Model
                                         └────────────── spans ◀────────────────────┘

A caller's ``traceparent`` decides; without one, chance does. ``otlp.py``, which sends the
spans, is imported only where tracing is on.
"""

import random
from collections.abc import Callable

from configs.schema.app import AppConfig
from configs.schema.tracing import TracingConfig
from deployments.telemetry.metrics import Metrics
from deployments.telemetry.spans import Span, Trace, new_trace, read_traceparent

_API = "/api/v1"


class Tracer:
    """Begins the traces of one replica."""

    def __init__(
        self,
        config: TracingConfig,
        deployment: str,
        emit: Callable[[Span], None],
        *,
        close: Callable[[], None] = lambda: None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Makes a tracer.

        Args:
            config: The share to sample and the paths to leave out.
            deployment: The name that its spans carry.
            emit: Takes every finished span; must not block.
            close: Sends what is left.
            chance: From 0 to below 1.
        """
        self._ratio = config.sample_ratio
        self._excluded = tuple(path.rstrip("/") for path in config.excluded_paths)
        self._deployment = deployment
        self._emit = emit
        self._chance = chance
        self.close = close

    def begin(self, path: str, header: Callable[[str], str | None]) -> Trace | None:
        """The trace of a request or message; None if it is not sampled.

        Args:
            path: Of the request; of a message, the topic.
            header: Gives the value of one of its headers.
        """
        parent = header("traceparent")
        if parent is None:
            if self._chance() >= self._ratio:
                return None
            decided, caller = False, None
        else:
            decided, caller = read_traceparent(parent, header("tracestate"))
            if caller is None and (decided or self._chance() >= self._ratio):
                return None
        if self._is_excluded(path):
            return None
        if caller is None:
            return Trace(new_trace(), 0, self._deployment, self._emit)
        return Trace(caller.child(), caller.span_id, self._deployment, self._emit)

    def _is_excluded(self, path: str) -> bool:
        slashed = path.removeprefix(_API) + "/"
        return any(
            slashed.startswith(f"{excluded.removeprefix(_API)}/") for excluded in self._excluded
        )


def open_tracer(config: AppConfig, deployment: str, metrics: Metrics) -> Tracer | None:
    """The tracer of an ingress or stream replica; None where tracing is off."""
    if not config.tracing.enabled:
        return None
    # A third of a second of imports that replicas without tracing do not need.
    from deployments.telemetry.otlp import BackgroundSpanExporter  # noqa: PLC0415

    outbox = BackgroundSpanExporter(config, metrics.spans)
    return Tracer(config.tracing, deployment, outbox.put, close=outbox.close)
