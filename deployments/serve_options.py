"""What every deployment gives Ray Serve: its options, and a constructor that can await."""

import math
from dataclasses import dataclass
from typing import Any

from ray import serve

from configs.cpu_cores import available_cores, share_cores
from configs.schema.app import AppConfig
from configs.schema.replicas import AutoscalingConfig, ReplicaConfig

# How long a stage that a new configuration has no more waits for ingresses that still need it:
# their successors load models first. Others leave as soon as their callers know another replica.
LEAVE_S = 90.0
STOP_S = LEAVE_S + 10


class AsyncReplica:
    """A replica whose ``setup`` awaits: other deployments, Vault, a bundle."""

    async def __init__(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[misc]
        # Serve awaits what a constructor returns; Python's types know no such thing.
        await self.setup(*args, **kwargs)

    async def setup(self, *args: Any, **kwargs: Any) -> None:
        """Makes the replica of the arguments that its deployment was bound with."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class EngineShare:
    """The part of the model stage that one replica of a calling deployment uses.

    Attributes:
        hops_in_flight: RPCs that it keeps in flight.
        engines: Engines for each such replica, at the start.
        threads: Threads of one engine.
    """

    hops_in_flight: int
    engines: float
    threads: int = 1


def engine_counts(config: AppConfig) -> tuple[int, int]:
    """Model replicas at the start, and the threads of each."""
    models, threads = share_cores(available_cores(), config.replicas.model.num_replicas)
    return models, config.model.intra_op_threads or threads


def fused_share(config: AppConfig) -> tuple[int, EngineShare]:
    """Replicas of the fused ingress at the start, and the engines of each: one for each core."""
    replicas = config.replicas.model.num_replicas or 1
    threads = config.model.intra_op_threads or 1
    _, cores = share_cores(available_cores(), replicas)
    engines = 1 if config.replicas.model.num_gpus else max(1, cores // threads)
    return replicas, EngineShare(1, engines, threads)


def engine_share(config: AppConfig, caller: ReplicaConfig) -> EngineShare:
    """The share of one replica of ``caller``; enough hops for all engines that there may be."""
    models, threads = engine_counts(config)
    callers = max(1, caller.num_replicas)
    most = max(models, config.replicas.model.max_replicas)
    hops = config.batching.max_hops_in_flight or max(2, math.ceil(1.5 * most / callers))
    return EngineShare(hops, models / callers, threads)


def deployment(
    cls: type,
    size: ReplicaConfig,
    *,
    name: str | None = None,
    replicas: int | None = None,
    scaling: AutoscalingConfig | None = None,
    policy: dict[str, Any] | None = None,
    stop_s: float = 20,
) -> serve.Deployment:
    """A Serve deployment of ``cls``.

    Args:
        cls: The replica's class.
        size: Resources and bounds.
        name: Its name where that is not the class's.
        replicas: Overrides ``size.num_replicas``.
        scaling: Targets; without them, or without room to grow, the number is fixed.
        policy: Serve's ``autoscaling_config.policy``; None is by requests in flight.
        stop_s: Time to stop before a replica is killed.
    """
    count = replicas or max(1, size.num_replicas)
    options = {"num_cpus": size.num_cpus}
    if size.num_gpus:
        options["num_gpus"] = size.num_gpus
    return serve.deployment(
        cls,
        name=name or cls.__name__,
        **_scale(count, size, scaling, policy),
        ray_actor_options=options,
        max_ongoing_requests=size.max_ongoing_requests,
        # With the default of 0 a code update stops an only replica before its successor is up.
        max_surge_percent=100 if count == 1 else 25,
        health_check_period_s=10,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=stop_s,
    )


def by_engine(scaling: AutoscalingConfig | None) -> dict[str, Any] | None:
    """The policy of replicas that hold engines."""
    if scaling is None:
        return None
    return {
        "policy_function": "deployments.autoscaling:ModelPolicy",
        "policy_kwargs": {
            "target_busy_ratio": scaling.target_busy_ratio,
            "target_wait_ms": scaling.target_wait_ms,
            "target_ongoing_requests": scaling.target_ongoing_requests,
        },
    }


def _by_requests(scaling: AutoscalingConfig) -> dict[str, Any]:
    """The policy of all others; an ingress answers requests before Ray Serve counts them."""
    arguments = {"target_ongoing_requests": scaling.target_ongoing_requests}
    return {"policy_function": "deployments.autoscaling:RequestPolicy", "policy_kwargs": arguments}


def by_lag(scaling: AutoscalingConfig | None) -> dict[str, Any] | None:
    """The policy of replicas that work off a topic."""
    if scaling is None:
        return None
    arguments = {"target_drain_s": scaling.target_drain_s}
    return {"policy_function": "deployments.autoscaling:LagPolicy", "policy_kwargs": arguments}


def _scale(
    count: int,
    size: ReplicaConfig,
    scaling: AutoscalingConfig | None,
    policy: dict[str, Any] | None,
) -> dict[str, Any]:
    """Serve's arguments for a fixed number of replicas, or for one between two bounds."""
    if scaling is None or size.max_replicas <= count:
        return {"num_replicas": count}
    bounds: dict[str, Any] = {
        "min_replicas": count,
        "max_replicas": size.max_replicas,
        "target_ongoing_requests": scaling.target_ongoing_requests,
        "upscale_delay_s": scaling.upscale_delay_s,
        "downscale_delay_s": scaling.downscale_delay_s,
    }
    bounds["policy"] = policy or _by_requests(scaling)
    return {"autoscaling_config": bounds}
