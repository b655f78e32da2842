"""What a replica of the Stream deployment says of itself, and what all of them say together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One replica.

    Attributes:
        connected: Whether a broker answered lately.
        lag: Messages not yet acknowledged, by partition that it reads.
        rate: Messages acknowledged a second, lately.
        in_flight: Messages read and not acknowledged.
        batches: Micro-batches under way.
        counts: Totals since it started: consumed, processed, failed, retried, dead_letters.
        processing_s: Time of all messages from poll to acknowledgement.
    """

    connected: bool
    lag: Mapping[int, int]
    rate: float
    in_flight: int
    batches: int
    counts: Mapping[str, int]
    processing_s: float


def check(replicas: Sequence[StreamStatus]) -> str:
    """The health of streams in one line."""
    away = sum(not replica.connected for replica in replicas)
    if not away:
        return "ok"
    return (
        f"degraded: Kafka does not answer {away} of {len(replicas)} stream replicas, "
        "HTTP goes on without it"
    )
