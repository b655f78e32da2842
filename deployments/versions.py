"""Which model version answers now.

The Registry deployment makes the routing table; every replica that takes texts from callers
(Ingress, Stream, Jobs) holds the newest one.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from registry.records import Head

# Engine kind → its name in answers.
BACKENDS = {"onnx": "onnx", "torch": "pytorch"}


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """A version that replicas can load.

    Attributes:
        name: Registered model name.
        version: MLflow's version number.
        digest: The bundle's digest; the identity that travels in payloads.
        labels: Class names in score order.
        kind: Engine kind, ``onnx`` or ``torch``.
        precision: Weight precision.
        max_tokens: Longer inputs are truncated.
        source: ``registry``: resolved from MLflow; ``last_known``: MLflow did not answer and
            this is what was live before.
        head: What its scores mean.
    """

    name: str
    version: int
    digest: str
    labels: tuple[str, ...]
    kind: str
    precision: str
    max_tokens: int
    source: Literal["registry", "last_known"]
    head: Head = Head()


@dataclass(frozen=True, slots=True)
class TrafficSlot:
    """A version beside the champion, with its share of traffic in (0, 1]."""

    model: ServedVersion
    weight: float


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """The routing table.

    Attributes:
        epoch: Milliseconds of Unix time when it was made; grows with every table.
        champion: Answers what the challenger does not.
        challenger: Answers its share.
        shadow: Classifies its share as well; its answers are compared and never returned.
        registry_away: MLflow does not answer now, so changes would not be seen.
    """

    epoch: int
    champion: ServedVersion
    challenger: TrafficSlot | None = None
    shadow: TrafficSlot | None = None
    registry_away: bool = False

    def choose(self, key: bytes) -> ServedVersion:
        """The version for a routing key; the same for the same key while the table stands.

        A key that the challenger has keeps it when the weight grows.
        """
        if self.challenger is not None and share(b"canary", key) < self.challenger.weight:
            return self.challenger.model
        return self.champion

    def shadowed(self, key: bytes) -> ServedVersion | None:
        """The version that is asked as well, or None."""
        if self.shadow is not None and share(b"shadow", key) < self.shadow.weight:
            return self.shadow.model
        return None

    @property
    def has_candidates(self) -> bool:
        """Whether the routing key of a text matters."""
        return self.challenger is not None or self.shadow is not None

    @property
    def digests(self) -> frozenset[str]:
        """Bundles that replicas must hold."""
        slots = (slot.model.digest for slot in (self.challenger, self.shadow) if slot is not None)
        return frozenset((self.champion.digest, *slots))


class CurrentRoutes:
    """The routing table of one replica. For one event loop.

    Attributes:
        table: The newest that it was given.
    """

    def __init__(self, table: RoutingTable) -> None:
        self.table = table

    def take(self, table: RoutingTable) -> bool:
        """Takes a table unless it is older than the present one; whether that changed anything."""
        changed = table.epoch >= self.table.epoch and table != self.table
        if changed:
            self.table = table
        return changed


def routing_key(given: str | None, texts: Sequence[str]) -> bytes:
    """The client's own key, or else the request's content."""
    if given:
        return given.encode("utf-8", "surrogatepass")
    content = hashlib.blake2b(digest_size=16)
    for text in texts:
        content.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return content.digest()


def share(salt: bytes, key: bytes) -> float:
    """A key's place in [0, 1), evenly spread; another salt gives independent places."""
    digest = hashlib.blake2b(key, digest_size=8, salt=salt).digest()
    return int.from_bytes(digest, "big") / 2**64
