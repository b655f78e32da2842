"""A text in flight: what is asked, what was predicted for it, and the callers that wait for it."""

from collections.abc import Callable
from typing import Protocol

from deployments.batching.encoded_text import EncodedText, Receiver
from deployments.predictions import Outcome
from deployments.telemetry.spans import Trace
from deployments.versions import ServedVersion


class QueueFull(Exception):
    """More texts would wait than may; nothing was queued."""

    def __init__(self, queued: int) -> None:
        super().__init__(queued)
        self.queued = queued


class Waiting(Protocol):
    """A caller that waits for some texts."""

    def one_done(self) -> None:
        """One of them is done."""
        ...


class PendingText(EncodedText):
    """A text in flight. For one event loop, except for what a scheduler reads.

    Attributes:
        text: Stripped, not blank.
        key: Of both cache levels, and of texts in flight.
        model: The version that answers.
        asked_bulk: What its caller asked for; ``bulk`` may be set when its turn comes.
        cost_s: Engine seconds, as predicted when it came.
        expected_s: Seconds to the answer, as predicted when it came.
        trace: That of the request that brought it, if that is sampled.
        waits: Its callers.
        result: What became of it once it is done; None if it was withdrawn.
        n_tokens: Tokens that the model sees, once it is tokenized, as the next two.
        truncated: It had more of them.
        tokenize_s: How long its micro-batch took.
        on_leave: Called when the last caller leaves; None if nobody has to know.
    """

    __slots__ = (
        "_ended",
        "asked_bulk",
        "cost_s",
        "expected_s",
        "key",
        "model",
        "n_tokens",
        "on_leave",
        "result",
        "text",
        "tokenize_s",
        "trace",
        "truncated",
        "waits",
    )

    def __init__(
        self,
        text: str,
        key: bytes,
        model: ServedVersion,
        receiver: Receiver,
        *,
        deadline_s: float,
        bulk: bool,
        queued_s: float,
        cost_s: float,
        expected_s: float,
        trace: Trace | None,
        ended: "Callable[[PendingText], None]",
    ) -> None:
        """A new one without callers; ``ended`` is called once, when it is done."""
        context = None if trace is None else trace.context
        super().__init__(
            model.digest, receiver, deadline_s, bulk=bulk, queued_s=queued_s, context=context
        )
        self.text = text
        self.key = key
        self.model = model
        self.asked_bulk = bulk
        self.cost_s = cost_s
        self.expected_s = expected_s
        self.trace = trace
        self.waits: set[Waiting] = set()
        self.result: Outcome | Exception | None = None
        self.n_tokens = 0
        self.truncated = False
        self.tokenize_s = 0.0
        self.on_leave: Callable[[], None] | None = None
        self._ended = ended

    def finish(self, result: Outcome | Exception) -> None:
        """It has this result, unless it is done already."""
        if not self.done:
            self.done = True
            self.result = result
            self._ended(self)

    def withdraw(self) -> None:
        """Nobody waits for it any more; a slot that meets it leaves it out."""
        if not self.done:
            self.done = True
            self._ended(self)
            if self.on_leave is not None:
                self.on_leave()


class Road(Receiver, Protocol):
    """A way from texts to scores: ``Dispatcher`` by RPCs, ``Direct`` to engines."""

    def submit(self, texts: list[PendingText]) -> None:
        """Takes texts of one model and class on their way, however many wait; each is finished."""
        ...

    def waiting(self, *, bulk: bool) -> int:
        """Texts of a class that wait."""
        ...

    def purge(self) -> None:
        """Forgets withdrawn texts, which ``waiting`` counts until then."""
        ...
