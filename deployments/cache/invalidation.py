"""Removes every prediction of one model version from every cache of the application."""

from dataclasses import dataclass
from typing import Protocol

from deployments.cache.shared import SharedCache
from deployments.errors import NotReady

_MODEL_BYTES = 8


class Ingresses(Protocol):
    """All ingress replicas."""

    async def forget(self, model: bytes) -> int:
        """Removes a model's entries and pending writes; returns how many entries."""
        ...


@dataclass(frozen=True, slots=True)
class Flushed:
    """How many entries were removed.

    Attributes:
        l1_entries: In all ingress replicas.
        l2_entries: In the shared cache; 0 where there is none.
    """

    l1_entries: int
    l2_entries: int


class Flush:
    """Empties both levels, in an order that leaves nothing behind."""

    def __init__(self, ingresses: Ingresses, shared: SharedCache | None) -> None:
        self._ingresses = ingresses
        self._shared = shared

    async def run(self, digest: str) -> Flushed:
        """Removes the entries that were written before the call.

        Args:
            digest: Of the bundle, in hexadecimal.

        Raises:
            NotReady: The shared cache does not answer; level one is empty all the same.
        """
        model = bytes.fromhex(digest)[:_MODEL_BYTES]
        # First, because an ingress's pending writes would refill the shared level.
        first = await self._ingresses.forget(model)
        if self._shared is None:
            return Flushed(first, 0)
        try:
            shared = await self._shared.flush(model)
        except Exception as error:
            raise NotReady("the shared cache does not answer, some entries may be left") from error
        # Again, because an ingress may have read from the shared level in between.
        return Flushed(first + await self._ingresses.forget(model), shared)
