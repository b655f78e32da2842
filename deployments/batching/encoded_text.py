"""A text's token ids in the queue of some engines, and who is given its scores."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from deployments.batching.scheduler import Ticket
from deployments.payloads import IntArray, ScoreBatch
from deployments.telemetry.spans import SpanContext

_NONE = np.zeros(0, dtype=np.int32)


class EncodedText(Ticket):
    """One text for the engines.

    Attributes:
        digest: Bundle that must answer.
        ids: ``[tokens] int32``, special tokens included; empty for a text that has none.
        context: The span that its engine batch is a part of; None if the request is not sampled.
        receiver: Who is given its scores.
        tries: How often it was sent to a replica that was lost or late.
    """

    __slots__ = ("context", "digest", "ids", "receiver", "tries")

    def __init__(
        self,
        digest: str,
        receiver: "Receiver",
        deadline_s: float,
        *,
        bulk: bool,
        queued_s: float,
        context: SpanContext | None = None,
        ids: IntArray = _NONE,
    ) -> None:
        super().__init__(deadline_s, bulk, queued_s)
        self.digest = digest
        self.receiver = receiver
        self.context = context
        self.ids = ids
        self.tries = 0


class Receiver(Protocol):
    """Whoever queued some texts; called on the event loop, once for each text."""

    def scored(self, texts: Sequence[EncodedText], rows: Sequence[int], answer: ScoreBatch) -> None:
        """Texts of an engine batch that ran: ``rows[i]`` of ``answer`` belongs to ``texts[i]``."""
        ...

    def failed(self, texts: Sequence[EncodedText], error: Exception) -> None:
        """Texts without scores; ``Expired`` of those whose deadline passed while they waited."""
        ...


def by_receiver(texts: Sequence[EncodedText]) -> dict[Receiver, list[int]]:
    """Positions of each receiver's texts."""
    found: dict[Receiver, list[int]] = {}
    for row, text in enumerate(texts):
        found.setdefault(text.receiver, []).append(row)
    return found


def fail(texts: Sequence[EncodedText], error: Exception) -> None:
    """Tells the receivers of some texts that these have no scores."""
    for receiver, rows in by_receiver(texts).items():
        receiver.failed([texts[row] for row in rows], error)


def deliver(texts: Sequence[EncodedText], answer: ScoreBatch) -> None:
    """Gives the receivers their rows of an engine batch of ``texts``."""
    for receiver, rows in by_receiver(texts).items():
        receiver.scored([texts[row] for row in rows], rows, answer)
