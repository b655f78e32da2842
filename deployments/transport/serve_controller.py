"""Ray Serve's controller, asked by a replica."""

from typing import Any

import ray
from ray.serve.context import _get_global_client


async def controller_clock_s() -> float:
    """Its wall clock, seconds."""
    found: dict[str, Any] = await _controller().get_health_metrics.remote()
    return float(found["timestamp"])


def restart_controller() -> None:
    """Ends it; Ray starts it again, and it takes over the replicas that run."""
    ray.kill(_controller(), no_restart=False)


def _controller() -> Any:
    client: Any = _get_global_client()
    return client._controller
