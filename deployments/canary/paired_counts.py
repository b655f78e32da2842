"""Counts how often a candidate did worse or better than the champion in one replica. Pure.

A shadow version and the champion answer the same text. In a canary one of the two answers each
text, so a text of the challenger is compared with the champion's latest. Cached answers carry no
new evidence and are left out. The Registry deployment takes the counts and decides.
"""

import math
from collections import deque
from typing import TypeVar

from deployments.errors import DeadlineExceeded, RequestError
from deployments.payloads import Counts
from deployments.predictions import Outcome, agree
from deployments.versions import ServedVersion

_Value = TypeVar("_Value", float, bool)
_WAITING = 64
_CANDIDATES = 4


class PairedCounts:
    """Counts by the candidate's digest. One event loop."""

    def __init__(self, slow_ratio: float, drift_step: float) -> None:
        """Nothing seen yet.

        Args:
            slow_ratio: A text that takes more than this many times the champion's time is slow.
            drift_step: A text whose champion's label (of multi-label models any label, of
                regressions the value in proportion) moves by more than this has drifted.
        """
        self._slow_ratio = slow_ratio
        self._drift_step = drift_step
        self._counts: dict[str, dict[str, list[int]]] = {}
        # Of either side, what the other has not been compared with: seconds, infinite if failed.
        self._times: dict[bool, deque[float]] = {}
        self._wrongs: dict[bool, deque[bool]] = {}
        self._rival = ""

    def shadow(
        self,
        champion: ServedVersion,
        theirs: Outcome,
        shadow: ServedVersion,
        mine: Outcome | RequestError,
    ) -> None:
        """Compares the outcomes of both versions for one text."""
        if theirs.cached:
            return
        if isinstance(mine, RequestError):
            # Too late counts as slow: the version need not be at fault.
            late = isinstance(mine, DeadlineExceeded)
            self._add(shadow.digest, "shadow.latency" if late else "shadow.errors", 1)
            return
        self._add(shadow.digest, "shadow.errors", 0)
        slow = mine.stages_s["infer"] > self._slow_ratio * theirs.stages_s["infer"]
        self._add(shadow.digest, "shadow.latency", int(slow))
        same, moved = agree(
            champion,
            theirs.prediction.scores,
            shadow,
            mine.prediction.scores,
            self._drift_step,
        )
        self._add(shadow.digest, "shadow.agreement", int(not same))
        self._add(shadow.digest, "shadow.drift", int(moved > self._drift_step))

    def answered(
        self, challenger: ServedVersion, model: ServedVersion, got: Outcome | RequestError
    ) -> None:
        """Counts what a caller got of ``model`` while ``challenger`` answers its share."""
        self._against(challenger.digest)
        if isinstance(got, RequestError):
            seconds = math.inf
        elif got.cached:
            return
        else:
            seconds = got.stages_s["queue"] + got.stages_s["rpc"]
        candidate = model.digest == challenger.digest
        pair = _pair(self._times, candidate, seconds)
        if pair is not None:
            mine, theirs = pair
            failed = int(math.isinf(mine)) - int(math.isinf(theirs))
            self._add(challenger.digest, "challenger.errors", failed)
            self._add(
                challenger.digest, "challenger.latency", int(mine > self._slow_ratio * theirs)
            )

    def judged(self, rival: str, *, candidate: bool, wrong: bool) -> None:
        """Counts a correction of an answer that the candidate or the champion gave."""
        self._against(rival)
        pair = _pair(self._wrongs, candidate, wrong)
        if pair is not None:
            self._add(rival, "challenger.accuracy", int(pair[0]) - int(pair[1]))

    def judged_both(self, shadow: str, *, champion_wrong: bool, shadow_wrong: bool) -> None:
        """Counts a correction of a text that both have answered."""
        self._add(shadow, "shadow.accuracy", int(shadow_wrong) - int(champion_wrong))

    def missed(self, candidate: str, why: str) -> None:
        """Counts a judged answer that says nothing of the candidate."""
        self._add(candidate, f"missed.{why}", 1)

    def take(self, digest: str) -> Counts:
        """What was counted for a candidate since the last call."""
        counts = self._counts.pop(digest, {})
        return {name: (worse, same, better) for name, (worse, same, better) in counts.items()}

    def _against(self, rival: str) -> None:
        if self._rival != rival:
            self._rival = rival
            self._times = {side: deque(maxlen=_WAITING) for side in (True, False)}
            self._wrongs = {side: deque(maxlen=_WAITING) for side in (True, False)}

    def _add(self, digest: str, name: str, value: int) -> None:
        counts = self._counts.get(digest)
        if counts is None:
            if len(self._counts) >= _CANDIDATES:
                self._counts.pop(next(iter(self._counts)))
            counts = self._counts[digest] = {}
        counts.setdefault(name, [0, 0, 0])[1 - value] += 1


def _pair(
    waiting: dict[bool, deque[_Value]], candidate: bool, value: _Value
) -> tuple[_Value, _Value] | None:
    """The candidate's and the champion's value, when the other side has one to compare with."""
    others = waiting[not candidate]
    if not others:
        waiting[candidate].append(value)
        return None
    other = others.pop()
    return (value, other) if candidate else (other, value)
