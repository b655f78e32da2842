"""Bursts in Kafka against ``LagPolicy``: how long until caught up, how many replicas, simulated.

Consumers work off one topic at a fixed pace each, as many at once as there are partitions.
What Ray Serve shows a policy (mean over a look-back period) and its delays are applied. No
process is started; the figures are those of the model.

``python -m benchmarks.scaling.lag_simulation``
"""

import json
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from deployments.autoscaling import BUSY, LAG, PARTITIONS, RATE, LagPolicy

CONTROL_S = 5


@dataclass(frozen=True, slots=True)
class Topic:
    """Of a topic and its consumers."""

    pace_per_s: float = 300.0
    partitions: int = 8
    min_replicas: int = 1
    max_replicas: int = 8
    start_s: float = 20.0
    look_back_s: float = 30.0
    upscale_delay_s: float = 10.0
    downscale_delay_s: float = 120.0
    base_per_s: float = 150.0
    burst_per_s: float = 1_800.0
    burst_from_s: float = 600.0
    burst_to_s: float = 1_200.0
    end_s: float = 3_600.0


@dataclass
class LagView:
    """The part of Ray Serve's context that the policy reads."""

    current_num_replicas: int
    aggregated_metrics: dict[str, dict[str, float]]
    total_num_requests: float = 0.0


@dataclass
class BurstResult:
    """What came of it."""

    most_lag: float = 0.0
    caught_up_s: float = math.inf
    replica_s: float = 0.0
    scalings: int = 0
    most_replicas: int = 0
    replicas: list[int] = field(default_factory=list)


def simulate(policy: Callable[[LagView], tuple[float, object]], world: Topic) -> BurstResult:
    """One burst; seconds are counted from its end to the first moment without lag."""
    outcome, lag, replicas = BurstResult(), 0.0, world.min_replicas
    starting: list[float] = []
    seen: deque[tuple[float, float, float]] = deque(maxlen=int(world.look_back_s / CONTROL_S))
    direction, since_s = 0, 0
    for second in range(int(world.end_s)):
        bursting = world.burst_from_s <= second < world.burst_to_s
        came = world.burst_per_s if bursting else world.base_per_s
        ready = [at for at in starting if at <= second]
        starting = [at for at in starting if at > second]
        replicas += len(ready)
        room = min(replicas, world.partitions) * world.pace_per_s
        done = min(room, lag + came)
        lag += came - done
        outcome.most_lag = max(outcome.most_lag, lag)
        outcome.most_replicas = max(outcome.most_replicas, replicas)
        outcome.replica_s += replicas + len(starting)
        outcome.replicas.append(replicas)
        if second >= world.burst_to_s and lag == 0:
            outcome.caught_up_s = min(outcome.caught_up_s, second - world.burst_to_s)
        if second % CONTROL_S:
            continue
        seen.append((lag, done, done / room))
        wanted = _wanted(policy, world, replicas, seen)
        target = replicas + len(starting)
        if (wanted > target) - (wanted < target) != direction:
            direction, since_s = (wanted > target) - (wanted < target), second
        delay_s = world.upscale_delay_s if direction > 0 else world.downscale_delay_s
        if direction and second - since_s >= delay_s:
            outcome.scalings += 1
            starting += [second + world.start_s] * max(0, wanted - target)
            replicas -= max(0, min(replicas, target - wanted))
            direction = 0
    return outcome


def _wanted(
    policy: Callable[[LagView], tuple[float, object]],
    world: Topic,
    replicas: int,
    seen: deque[tuple[float, float, float]],
) -> int:
    lag, rate, busy = (sum(part) / len(seen) for part in zip(*seen, strict=True))
    reported = {LAG: lag, RATE: rate, PARTITIONS: float(world.partitions), BUSY: busy}
    view = LagView(replicas, {name: {"all": value} for name, value in reported.items()})
    wanted = math.ceil(policy(view)[0] - 1e-9)
    return min(world.max_replicas, max(world.min_replicas, wanted))


def main() -> None:
    """Prints one JSON document: the policy beside a fixed number of replicas."""
    world = Topic()
    found = {"by lag": simulate(LagPolicy(), world)}
    for fixed in (world.min_replicas, world.max_replicas):
        bounds = Topic(min_replicas=fixed, max_replicas=fixed)
        found[f"{fixed} fixed"] = simulate(LagPolicy(), bounds)
    print(
        json.dumps(
            {
                name: {
                    "most_lag": round(outcome.most_lag),
                    "caught_up_after_s": outcome.caught_up_s
                    if math.isfinite(outcome.caught_up_s)
                    else None,
                    "replica_hours": round(outcome.replica_s / 3_600, 2),
                    "most_replicas": outcome.most_replicas,
                    "scalings": outcome.scalings,
                }
                for name, outcome in found.items()
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
