"""A circuit breaker: a dependency that keeps failing is not called for a while.

    closed ──failure_threshold failures in a row──▶ open
      ▲                                              │ recovery_ms
      └──success_threshold successful trials── half_open ──a failed trial──▶ open

One per dependency and operation in each process. Own code, because the known packages lack
asyncio, let every caller through while half open, or close after one success.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from configs.schema.dependencies import BreakerConfig

State = Literal["closed", "half_open", "open"]


class BreakerOpen(Exception):
    """The breaker is open; nothing was called."""


class Breaker:
    """Not thread-safe; for one event loop."""

    def __init__(
        self,
        config: BreakerConfig,
        on_change: Callable[[State], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts closed.

        Args:
            config: Thresholds and recovery time.
            on_change: Called with every new state, and with ``closed`` at once.
            clock: Seconds; for tests.
        """
        self._config = config
        self._on_change = on_change
        self._clock = clock
        self._state: State = "closed"
        self._count = 0  # failures in a row while closed, successes while half open
        self._opened_s = 0.0
        self._trial = False
        on_change("closed")

    @property
    def state(self) -> State:
        """The state after the last call."""
        return self._state

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Wraps one call of the dependency; an exception in the body is a failure.

        A cancelled call counts neither as a failure nor as a success.

        Raises:
            BreakerOpen: The breaker is open.
        """
        self._admit()
        try:
            yield
        except Exception:
            self._failed()
            raise
        else:
            self._succeeded()
        finally:
            self._trial = False

    def _admit(self) -> None:
        if self._state == "open":
            if self._clock() - self._opened_s < self._config.recovery_ms / 1_000:
                raise BreakerOpen
            self._change("half_open")
        if self._state == "half_open":
            if self._trial:
                raise BreakerOpen
            self._trial = True

    def _failed(self) -> None:
        if self._state == "open":
            return  # the call began before the breaker opened
        self._count += 1
        if self._state == "half_open" or self._count >= self._config.failure_threshold:
            self._opened_s = self._clock()
            self._change("open")

    def _succeeded(self) -> None:
        if self._state == "closed":
            self._count = 0
        elif self._state == "half_open":
            self._count += 1
            if self._count >= self._config.success_threshold:
                self._change("closed")

    def _change(self, state: State) -> None:
        self._state = state
        self._count = 0
        self._on_change(state)
