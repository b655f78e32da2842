"""How long a text would wait, and whether to let it. Pure.

``TextCost`` estimates engine seconds of a text from its characters, learnt from what the
model stages' cost surfaces said of earlier texts. ``Backlog`` adds up what has been let
in and not yet answered, watches how fast that is worked off, and so predicts the wait of
the next text. Refusing early is kinder than answering late: a caller learns within
milliseconds when to come back, and no engine time goes to answers that nobody awaits.
"""

import time
from collections.abc import Callable

import numpy as np

from deployments.payloads import FloatArray

# Weight of the past in moving averages, per update.
_KEEP = 0.9
_PACE_WINDOW_S = 0.1


class TextCost:
    """Engine seconds of a text by its length: ``base + slope · characters``.

    Least squares over exponentially fading history, so it follows another model or language.
    """

    def __init__(self, initial_s: float = 0.005) -> None:
        """``initial_s``: of any text, before anything was learnt."""
        self._base = initial_s
        self._slope = 0.0
        self._weight = 0.0
        self._moments = np.zeros(4)

    def __call__(self, chars: int) -> float:
        """Seconds, above 0."""
        return max(self._base + self._slope * chars, 1e-6)

    def learn(self, chars: FloatArray, seconds: FloatArray) -> None:
        """Takes in what some texts cost; both ``[n]``, n above 0."""
        now = np.array(
            [chars.mean(), seconds.mean(), (chars * chars).mean(), (chars * seconds).mean()]
        )
        self._weight = _KEEP * self._weight + 1
        self._moments += (now - self._moments) / self._weight
        x, y, xx, xy = self._moments.tolist()
        spread = xx - x * x
        # Texts of one length say nothing of the slope.
        self._slope = max(0.0, (xy - x * y) / spread) if spread > 1e-6 * xx else 0.0
        self._base = y - self._slope * x


class Backlog:
    """Engine seconds that are let in and not answered, and the pace at which they shrink."""

    def __init__(self, engines: float, clock: Callable[[], float] = time.monotonic) -> None:
        """An empty backlog.

        Args:
            engines: Engine seconds worked off in one second while nothing else is known: the
                model replicas that this ingress has to itself.
            clock: Seconds, monotonic.
        """
        self._clock = clock
        self._pace = engines
        self._ahead_s = {False: 0.0, True: 0.0}
        self._texts = 0
        self._done_s = 0.0
        self._since = 0.0
        self._behind = False
        self._error_s = 0.0
        self._deviation_s = 0.0

    @property
    def pace(self) -> float:
        """Engine seconds that are worked off in one second."""
        return self._pace

    def wait_s(self, *, bulk: bool, later_s: float = 0.0) -> float:
        """Predicted wait of the next text: what goes before it, at the present pace.

        Args:
            bulk: Whether interactive texts go first.
            later_s: Engine seconds of other callers' texts that were let in and come after it.
        """
        ahead_s = self._ahead_s[False] + (self._ahead_s[True] if bulk else 0.0)
        return max(0.0, ahead_s - later_s) / self._pace

    def answer_s(self, cost_s: float, *, bulk: bool, later_s: float = 0.0) -> float:
        """Time until texts of ``cost_s`` that came in now would be answered, cautiously.

        The wait, their own compute, and what earlier predictions fell short by: mean error and
        twice its mean deviation, as TCP sets its timers (Jacobson, SIGCOMM 1988).
        """
        expected_s = self.expected_s(cost_s, bulk=bulk, later_s=later_s)
        return expected_s + max(0.0, self._error_s) + 2 * self._deviation_s

    def enter(self, cost_s: float, *, bulk: bool) -> None:
        """A text was let in."""
        if not self._texts:
            # Idle time says nothing of the pace.
            self._restart()
        self._texts += 1
        self._ahead_s[bulk] += cost_s

    def leave(self, cost_s: float, *, bulk: bool, done: bool) -> None:
        """A text left: ``done`` if it was computed, else it was withdrawn or failed."""
        self._texts -= 1
        self._ahead_s[bulk] -= cost_s
        self._done_s += cost_s * done
        elapsed_s = self._clock() - self._since
        if elapsed_s >= _PACE_WINDOW_S:
            pace = self._done_s / elapsed_s
            # Working through little shows no limit; only a pace under pressure may lower it.
            if pace > self._pace or (self._behind and pace > 0):
                self._pace += (1 - _KEEP) * (pace - self._pace)
            self._restart()
        if not self._texts:
            self._ahead_s = {False: 0.0, True: 0.0}

    def learn(self, predicted_s: float, actual_s: float) -> None:
        """Compares a text's ``wait_s`` and compute, as predicted on entry, with what it took."""
        error_s = actual_s - predicted_s
        self._deviation_s += 0.1 * (abs(error_s - self._error_s) - self._deviation_s)
        self._error_s += 0.1 * (error_s - self._error_s)

    def expected_s(self, cost_s: float, *, bulk: bool, later_s: float = 0.0) -> float:
        """The plain prediction that ``learn`` wants to see again."""
        return self.wait_s(bulk=bulk, later_s=later_s) + cost_s / self._pace

    def _restart(self) -> None:
        self._since, self._done_s = self._clock(), 0.0
        self._behind = self.wait_s(bulk=True) > _PACE_WINDOW_S
