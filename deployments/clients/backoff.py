"""When to try again, for everything in the deployments that does. Pure."""

import random
from collections.abc import Callable


class Backoff:
    """Pauses that double up to a bound; a random part keeps replicas from trying in step."""

    def __init__(
        self, first_ms: float, most_ms: float, chance: Callable[[], float] = random.random
    ) -> None:
        """Makes a schedule.

        Args:
            first_ms: Longest pause before the second attempt.
            most_ms: Longest pause of all.
            chance: In [0, 1).
        """
        self._first_s = first_ms / 1_000
        self._most_s = most_ms / 1_000
        self._chance = chance

    def pause_s(self, attempts: int) -> float:
        """Returns the pause after that many attempts: between half and all of the doubled one."""
        longest = min(self._most_s, self._first_s * 2.0 ** min(attempts - 1, 60))
        return longest * (0.5 + self._chance() / 2)
