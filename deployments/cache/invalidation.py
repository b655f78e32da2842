"""Removes every prediction of one model version from every cache of the application."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from deployments.cache.shared import SharedCache
from deployments.errors import NotReady

_MODEL_BYTES = 8


@dataclass(frozen=True, slots=True)
class Flushed:
    """How many entries were removed.

    Attributes:
        l1_entries: In all ingress replicas.
        l2_entries: In the shared cache; 0 where there is none.
    """

    l1_entries: int
    l2_entries: int


async def flush(
    digest: str, forget: Callable[[bytes], Awaitable[int]], shared: SharedCache | None
) -> Flushed:
    """Empties both levels, in an order that leaves no earlier entry behind.

    Args:
        digest: Of the bundle, in hexadecimal.
        forget: Removes a model's entries and pending writes from every replica that
            takes texts, and returns how many entries.
        shared: Level two, if there is one.

    Raises:
        NotReady: The shared cache does not answer; level one is empty all the same.
    """
    model = bytes.fromhex(digest)[:_MODEL_BYTES]
    # First, because a replica's pending writes would refill the shared level.
    first = await forget(model)
    if shared is None:
        return Flushed(first, 0)
    try:
        removed = await shared.flush(model)
    except Exception as error:
        raise NotReady("the shared cache does not answer, some entries may be left") from error
    # Again, because an ingress may have read from the shared level in between.
    return Flushed(first + await forget(model), removed)
