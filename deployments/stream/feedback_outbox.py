"""Kept feedback → its topic. At least once: what Kafka acknowledged and Insight did not hear of is
written again, with the same ``event_id``.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from deployments.payloads import FeedbackRecord
from deployments.stream.messages import Outgoing
from deployments.stream.producer import Answers

_log = logging.getLogger("ray.serve")
_PAUSE_S = 1.0
_MOST = 500


class Outbox(Protocol):
    """The Insight deployment."""

    async def unpublished(self, most: int) -> list[FeedbackRecord]:
        """Feedback that no topic has taken, the first first."""
        ...

    async def published(self, event_ids: Sequence[str]) -> None:
        """Marks feedback that the topic has taken."""
        ...


class FeedbackOutbox:
    """Empties the outbox as long as it runs."""

    def __init__(
        self, topic: str, send: Callable[[Sequence[Outgoing]], Awaitable[Answers]], outbox: Outbox
    ) -> None:
        self._topic = topic
        self._send = send
        self._outbox = outbox

    async def run(self) -> None:
        """Writes what there is, every second; a broker or Insight that is away is asked again."""
        while True:
            try:
                while await self.write() == _MOST:
                    pass
            except Exception as error:  # noqa: BLE001  (whatever it was, it is tried again)
                _log.warning("feedback waits for its topic: %s", type(error).__name__)
            await asyncio.sleep(_PAUSE_S)

    async def write(self) -> int:
        """Writes a batch; how many the topic has taken."""
        records = await self._outbox.unpublished(_MOST)
        sent = [Outgoing(self._topic, each.key.encode(), each.value) for each in records]
        answers = await self._send(sent)
        taken = [
            record.event_id for record, error in zip(records, answers, strict=True) if error is None
        ]
        if taken:
            await self._outbox.published(taken)
        return len(taken)
