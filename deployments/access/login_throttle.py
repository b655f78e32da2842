"""Slows down whoever tries keys: so many wrong ones of an address in a minute, then none.

In each ingress replica for itself. A key that was right from an address before stays welcome
there, so that one client behind a shared address does not lock out the others.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

_WINDOW_S = 60.0
_MOST_ADDRESSES = 10_000


class LoginThrottle:
    """Counts wrong keys by address, in windows of a minute."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Allows ``most`` wrong keys of an address in a minute; 0 allows any number."""
        self._most = most
        self._clock = clock
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._welcome: OrderedDict[tuple[str, int], None] = OrderedDict()

    def wait_s(self, address: str, credential: str) -> float:
        """0 when the credential may be tried; else the seconds until one may."""
        began, failures = self._failures.get(address, (0.0, 0))
        left_s = began + _WINDOW_S - self._clock()
        if not self._most or failures < self._most or left_s <= 0:
            return 0.0
        # The hash is of this process alone: a remembered credential is none.
        return 0.0 if (address, hash(credential)) in self._welcome else left_s

    def failed(self, address: str) -> None:
        """A wrong credential came."""
        if not self._most:
            return
        now = self._clock()
        began, failures = self._failures.pop(address, (now, 0))
        if now - began >= _WINDOW_S:
            began, failures = now, 0
        self._failures[address] = (began, failures + 1)
        if len(self._failures) > _MOST_ADDRESSES:
            self._failures.popitem(last=False)

    def passed(self, address: str, credential: str) -> None:
        """A right one came."""
        if not self._most:
            return
        self._welcome[address, hash(credential)] = None
        self._welcome.move_to_end((address, hash(credential)))
        if len(self._welcome) > _MOST_ADDRESSES:
            self._welcome.popitem(last=False)
