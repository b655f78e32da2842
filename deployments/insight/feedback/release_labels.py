"""Has releases count what people say of answers; what they do not count says why."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from deployments.payloads import BY_REVIEWERS, FORGOTTEN, Correction, FeedbackResult

_log = logging.getLogger("ray.serve")
_NOT_ASKED = "unknown: the registry did not answer in time"
# A caller's feedback waits so long for what releases say of it.
_WAIT_S = 1.0
_Told = TypeVar("_Told")


@dataclass(frozen=True, slots=True)
class Releases:
    """The registry, seen from here.

    Attributes:
        reviewed: By the answer's id and the label; None when no replica remembers the answer.
        missed: Notes why a label counts for none.
    """

    reviewed: Callable[[str, str], Coroutine[Any, Any, FeedbackResult | None]]
    missed: Callable[[str], Coroutine[Any, Any, None]]


class ReleaseLabels:
    """Tells releases. For one event loop."""

    def __init__(self, releases: Releases | None) -> None:
        self._releases = releases
        self._telling: set[asyncio.Task[Any]] = set()

    async def caller(self, said: Correction, *, counts: bool) -> str:
        """Tells a caller's word; why it counts for no release, empty when it does.

        Args:
            said: The word.
            counts: Whether callers' words count here at all.
        """
        if self._releases is None:
            return ""
        if not counts:
            self._start(self._releases.missed(BY_REVIEWERS))
            return BY_REVIEWERS
        telling = self._start(self._releases.reviewed(said.prediction_id, said.label))
        try:
            result = await asyncio.wait_for(asyncio.shield(telling), _WAIT_S)
        except Exception:  # noqa: BLE001  (what was said is kept, whatever the registry does)
            return _NOT_ASKED
        return FORGOTTEN if result is None else result.not_counted

    def reviewer(self, prediction_id: str, label: str) -> None:
        """Tells a reviewer's word; nobody waits for what becomes of it."""
        if self._releases is not None:
            self._start(self._releases.reviewed(prediction_id, label))

    def _start(self, telling: Coroutine[Any, Any, _Told]) -> asyncio.Task[_Told]:
        task = asyncio.create_task(telling)
        self._telling.add(task)
        task.add_done_callback(self._told)
        return task

    def _told(self, task: asyncio.Task[Any]) -> None:
        self._telling.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("releases did not count a label: %s", type(error).__name__)
