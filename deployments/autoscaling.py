"""How many replicas: one policy for the model, one for streams, one for the whole graph.

Pure: they read Ray Serve's ``AutoscalingContext`` and return the wanted replicas; Serve then
applies bounds, delays and factors. Serve finds them by import path (``autoscaling`` in the
settings, ``autoscaling_policy`` of an application).

Requests in flight do not measure the load of a model that answers batches: the callers bound
the RPCs in flight, and one RPC carries one text or sixty-four. So model replicas report the busy
share of their engine and the time that their queue takes by the measured cost surface. Stream
replicas report their lag behind Kafka.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol

BUSY = "busy_ratio"
WAIT = "wait_s"
LAG = "lag_messages"
RATE = "messages_per_s"
PARTITIONS = "partitions"
FAST_REQUESTS = "fast_requests"
# A queue shows that replicas are missing, not how many: one decision at most doubles them.
_MOST_AT_ONCE = 2.0


class Context(Protocol):
    """The part of Ray Serve's ``AutoscalingContext`` that is read here."""

    current_num_replicas: int

    @property
    def total_num_requests(self) -> float:
        """Running and queued requests of the deployment."""
        ...

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None:
        """The figures that replicas report, by name and replica, over the look-back period."""
        ...


Decision = tuple[float, dict[str, Any]]


class ModelPolicy:
    """Keeps engines as busy as wanted, and the wait for them short."""

    def __init__(
        self,
        target_busy_ratio: float = 0.7,
        target_wait_ms: float = 50.0,
        target_ongoing_requests: float = 2.0,
    ) -> None:
        """Makes a policy.

        Args:
            target_busy_ratio: Share of time that an engine computes.
            target_wait_ms: Wait in a replica's queue from which on more are added.
            target_ongoing_requests: Requests for each replica, where replicas report nothing.
        """
        self._busy = target_busy_ratio
        self._wait_s = target_wait_ms / 1_000
        self._ongoing = target_ongoing_requests

    def __call__(self, ctx: Context) -> Decision:
        """Wanted replicas of the model deployment; 0 never, Serve's minimum decides."""
        replicas = ctx.current_num_replicas
        reported = ctx.aggregated_metrics or {}
        busy = _mean(reported.get(BUSY))
        if busy is None or replicas == 0:
            return _by_requests(ctx, self._ongoing), {}
        wanted = replicas * busy / self._busy
        wait_s = _mean(reported.get(WAIT)) or 0.0
        if wait_s > self._wait_s:
            # Texts wait, even if engines seem idle between windows.
            wanted = max(wanted, replicas * min(_MOST_AT_ONCE, wait_s / self._wait_s))
        return max(1.0, min(wanted, replicas * _MOST_AT_ONCE)), {}


class RequestPolicy:
    """Keeps the requests in flight of each replica at a target, as Serve's own policy does.

    Serve's own does not see those that an ingress answers before Ray Serve.
    """

    def __init__(self, target_ongoing_requests: float = 2.0) -> None:
        """Makes a policy; the target is of each replica."""
        self._ongoing = target_ongoing_requests

    def __call__(self, ctx: Context) -> Decision:
        """Wanted replicas."""
        return _by_requests(ctx, self._ongoing), {}


class LagPolicy:
    """Keeps the lag of Kafka below what consumers can process in a given time."""

    def __init__(self, target_drain_s: float = 30.0, target_busy_ratio: float = 0.7) -> None:
        """Makes a policy.

        Args:
            target_drain_s: Time to process the lag at the present rate.
            target_busy_ratio: Messages that replicas hold, of those that they may hold.
        """
        self._drain_s = target_drain_s
        self._busy = target_busy_ratio

    def __call__(self, ctx: Context) -> Decision:
        """Wanted replicas of the stream deployment; never more than there are partitions.

        More consumers do not help where the model is the bottleneck; their texts then wait in
        its queue, and ``ModelPolicy`` adds models.
        """
        replicas = ctx.current_num_replicas
        reported = ctx.aggregated_metrics or {}
        if not reported.get(LAG) or replicas == 0:
            return float(max(1, replicas)), {}
        lag, rate, partitions = (
            sum(reported.get(name, {}).values()) for name in (LAG, RATE, PARTITIONS)
        )
        # A lag without a rate does not show how many replicas are missing.
        drain_s = lag / rate if rate > 0 else (math.inf if lag else 0.0)
        busy = _mean(reported.get(BUSY)) or 0.0
        pressure = max(drain_s / self._drain_s, busy / self._busy)
        wanted = replicas * min(_MOST_AT_ONCE, pressure)
        return max(1.0, min(wanted, max(1, round(partitions)))), {}


class GraphPolicy:
    """Sizes the model by its own policy, the tokenizer by the model, the rest by requests."""

    def __init__(
        self,
        tokenizers_per_model: float = 0.25,
        target_ongoing_requests: float = 32.0,
        **model: float,
    ) -> None:
        """Makes a policy.

        Args:
            tokenizers_per_model: Tokenizer replicas for each model replica.
            target_ongoing_requests: Requests for each replica of any other deployment.
            model: Arguments of ``ModelPolicy``.
        """
        self._ratio = tokenizers_per_model
        self._ongoing = target_ongoing_requests
        self._model = ModelPolicy(**model)
        self._stream = LagPolicy()

    def __call__(
        self, contexts: Mapping[Any, Context]
    ) -> tuple[dict[Any, float], dict[Any, dict[str, Any]]]:
        """Wanted replicas of every deployment that may scale, by its id."""
        wanted: dict[Any, float] = {}
        models = next((key for key in contexts if key.name == "Model"), None)
        if models is not None:
            wanted[models], _ = self._model(contexts[models])
        for key, ctx in contexts.items():
            if key.name == "Tokenizer" and models is not None:
                # At least for the present models: where tokenizers are the bottleneck, models are
                # idle, and a count that follows them would never grow again.
                fed = max(wanted[models], contexts[models].current_num_replicas)
                wanted[key] = max(1, math.ceil(fed * self._ratio))
            elif key.name == "Stream":
                wanted[key], _ = self._stream(ctx)
            elif BUSY in (ctx.aggregated_metrics or {}):
                # Fused: the ingress's replicas hold the engines.
                wanted.setdefault(key, self._model(ctx)[0])
            elif key != models:
                wanted[key] = _by_requests(ctx, self._ongoing)
        return wanted, {}


class Utilisation:
    """Load of the engines of one replica. For one event loop."""

    def __init__(self, clock_s: float, engines: int = 1) -> None:
        """Starts to count at ``clock_s`` seconds."""
        self._since_s = clock_s
        self._engines = engines
        self._busy_s = 0.0
        self._text_cost_s = 0.0

    def add(self, texts: int, infer_s: float, cost_s: float) -> None:
        """Counts one engine batch and its predicted cost."""
        self._busy_s += infer_s
        self._text_cost_s += 0.2 * (cost_s / texts - self._text_cost_s)

    def read(self, queued: int, clock_s: float) -> dict[str, float]:
        """Since the last read: share of time that the engines ran, predicted time of the queue."""
        elapsed_s = max(clock_s - self._since_s, 1e-3)
        busy_s, self._busy_s, self._since_s = self._busy_s, 0.0, clock_s
        busy_ratio = min(1.0, busy_s / elapsed_s / self._engines)
        return {BUSY: busy_ratio, WAIT: queued * self._text_cost_s / self._engines}


def _by_requests(ctx: Context, target: float) -> float:
    fast = (ctx.aggregated_metrics or {}).get(FAST_REQUESTS, {})
    return max(1.0, (ctx.total_num_requests + sum(fast.values())) / target)


def _mean(by_replica: Mapping[Any, float] | None) -> float | None:
    return sum(by_replica.values()) / len(by_replica) if by_replica else None
