"""Repeats an operation that lost a race against another writer, with a random, growing pause."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from registry.errors import EntryTaken, RegistryError

_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.25
T = TypeVar("T")


def retried(
    operation: Callable[[], T],
    *,
    on: type[RegistryError] | tuple[type[RegistryError], ...] = EntryTaken,
    attempts: int = 20,
) -> T:
    """The operation's result; after ``attempts`` failures of kind ``on`` the last one is raised.

    The pause before attempt n is uniform up to 5 ms times 2^n, at most 0.25 s.
    """
    longest_s = _FIRST_PAUSE_S
    for _ in range(attempts - 1):
        try:
            return operation()
        except on:
            time.sleep(random.uniform(0, longest_s))  # noqa: S311  (jitter, no secret)
            longest_s = min(2 * longest_s, _LONGEST_PAUSE_S)
    return operation()
