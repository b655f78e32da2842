"""Which version answers a request: champion or, for a sticky share, the challenger. Pure.

The Registry deployment makes a table and gives it to every ingress; a higher epoch
replaces a lower one, so tables that arrive late or twice do no harm. Every text of a
request gets the version that its request was given.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from deployments.live import LiveModel


@dataclass(frozen=True, slots=True)
class Slot:
    """A version beside the champion, with its share of traffic in (0, 1]."""

    model: LiveModel
    weight: float


@dataclass(frozen=True, slots=True)
class Routes:
    """The routing table.

    Attributes:
        epoch: Milliseconds of Unix time when it was made; grows with every table.
        champion: Answers what nobody else does.
        challenger: Answers its share.
        shadow: Is asked its share; its answers are compared and never returned.
        registry_away: MLflow does not answer now, so changes would not be seen.
    """

    epoch: int
    champion: LiveModel
    challenger: Slot | None = None
    shadow: Slot | None = None
    registry_away: bool = False

    def choose(self, key: bytes) -> LiveModel:
        """The version for a routing key; the same for the same key while the table stands.

        A key that the challenger has keeps it when the weight grows.
        """
        if self.challenger is not None and share(b"canary", key) < self.challenger.weight:
            return self.challenger.model
        return self.champion

    def shadowed(self, key: bytes) -> LiveModel | None:
        """The version that is asked as well, or None."""
        if self.shadow is not None and share(b"shadow", key) < self.shadow.weight:
            return self.shadow.model
        return None

    @property
    def digests(self) -> frozenset[str]:
        """Bundles that replicas must hold."""
        slots = (slot.model.digest for slot in (self.challenger, self.shadow) if slot is not None)
        return frozenset((self.champion.digest, *slots))


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
