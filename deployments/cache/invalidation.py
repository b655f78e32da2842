"""Forgetting every prediction of one model version, in every cache of the application."""

from dataclasses import dataclass
from typing import Protocol

from deployments.cache.shared import SharedCache
from deployments.errors import NotReady

_MODEL_BYTES = 8


class Ingresses(Protocol):
    """All ingress replicas."""

    async def forget(self, model: bytes) -> int:
        """Drops what they remember, and what they are about to write; how many entries."""
        ...


@dataclass(frozen=True, slots=True)
class Flushed:
    """How many entries there were.

    Attributes:
        l1_entries: In all ingress replicas.
        l2_entries: In the shared cache; 0 where there is none.
    """

    l1_entries: int
    l2_entries: int


class Flush:
    """Empties the levels in an order that leaves nothing behind."""

    def __init__(self, ingresses: Ingresses, shared: SharedCache | None) -> None:
        self._ingresses = ingresses
        self._shared = shared

    async def run(self, digest: str) -> Flushed:
        """Forgets what was remembered before the call.

        Args:
            digest: Of the bundle, in hexadecimal.

        Raises:
            NotReady: The shared cache does not answer; level one is empty nevertheless.
        """
        model = bytes.fromhex(digest)[:_MODEL_BYTES]
        # Writes that wait in an ingress would come back after the shared level is emptied.
        first = await self._ingresses.forget(model)
        if self._shared is None:
            return Flushed(first, 0)
        try:
            shared = await self._shared.flush(model)
        except Exception as error:
            raise NotReady("the shared cache does not answer, some entries may be left") from error
        # What an ingress has read from the shared level meanwhile.
        return Flushed(first + await self._ingresses.forget(model), shared)
