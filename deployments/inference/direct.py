"""The road to engines: each text is tokenized as it comes and waits in the engines' queue.

Free engines take the next batch out of that queue themselves (``batching/scheduler.py``), so there
is no micro-batch between a text and its engine batch.
"""

import time
from collections.abc import Sequence
from typing import Protocol

from configs.schema.app import AppConfig
from deployments.batching.encoded_text import EncodedText
from deployments.batching.micro_batches import MicroBatches
from deployments.batching.scheduler import Expired
from deployments.inference.pending_text import PendingText
from deployments.inference.results import Results
from deployments.inference.spans import queued, tokenized
from deployments.payloads import Contexts, Encodings, ScoreBatch
from deployments.telemetry.metrics import Metrics
from deployments.telemetry.spans import rows_of

# Micro-batches of one class that are looked up or tokenized at once, where that takes time.
_CALLS = 2


class Stages(Protocol):
    """A tokenizer, and engines with their queue."""

    async def load(self, digest: str) -> None:
        """Opens a version's tokenizer and model; does nothing when they are open already."""
        ...

    def encode_now(self, digest: str, texts: Sequence[str]) -> Encodings | None:
        """Token ids; None if the version is not open, or it would hold up the event loop."""
        ...

    async def encode(
        self, digest: str, texts: Sequence[str], contexts: Contexts, deadline_s: float
    ) -> Encodings:
        """Token ids by the version's tokenizer, which is open.

        Args:
            digest: Of the version.
            texts: To encode.
            contexts: Parents of the spans of this stage.
            deadline_s: The latest of the texts, on ``time.monotonic``.
        """
        ...

    def submit(self, texts: Sequence[EncodedText]) -> None:
        """Queues texts of one class."""
        ...

    def queued(self, *, bulk: bool) -> int:
        """Texts of a class that wait for an engine."""
        ...

    def purge(self) -> None:
        """Forgets withdrawn texts, which ``queued`` counts until then."""
        ...

    def silent(self) -> Sequence[str]:
        """A sentence for each replica of other processes that does not answer now."""
        ...

    def close(self) -> None:
        """Ends connections, where there are any."""
        ...


class Direct:
    """Answers the texts of one replica. A ``Road``."""

    def __init__(
        self, stages: Stages, results: Results, config: AppConfig, metrics: Metrics
    ) -> None:
        self._stages = stages
        self._results = results
        self._metrics = metrics
        self._preparing = MicroBatches[PendingText](
            self._prepare,
            lambda texts: results.failed(texts, Expired()),
            calls=_CALLS,
            max_texts=config.batching.max_hop_texts,
            bulk_ratio=config.batching.bulk_ratio,
        )

    def submit(self, texts: list[PendingText]) -> None:
        """See ``Road.submit``."""
        if self._results.looks_up or not self._encode_now(texts):
            self._preparing.scheduler.submit(texts)

    def waiting(self, *, bulk: bool) -> int:
        """See ``Road.waiting``."""
        return self._preparing.scheduler.queued(bulk=bulk) + self._stages.queued(bulk=bulk)

    def purge(self) -> None:
        """See ``Road.purge``."""
        self._preparing.scheduler.purge()
        self._stages.purge()

    def scored(self, texts: Sequence[EncodedText], rows: Sequence[int], answer: ScoreBatch) -> None:
        """See ``Receiver.scored``."""
        traced = rows_of(text.trace for text in texts if isinstance(text, PendingText))
        queued(traced, texts)
        for trace in list(traced)[:1]:
            trace.adopt(answer.spans)
        self._results.scored(texts, rows, answer)

    def failed(self, texts: Sequence[EncodedText], error: Exception) -> None:
        """See ``Receiver.failed``."""
        self._results.failed(texts, error)

    async def _prepare(self, texts: list[PendingText]) -> None:
        """Looks texts up, tokenizes the rest and queues them."""
        try:
            by_model: dict[str, list[PendingText]] = {}
            for text in await self._results.look_up(texts):
                by_model.setdefault(text.digest, []).append(text)
            for digest, group in by_model.items():
                await self._stages.load(digest)
                if not self._encode_now(group):
                    started_s = time.monotonic()
                    encoded = await self._stages.encode(
                        digest,
                        [text.text for text in group],
                        _contexts(group),
                        max(text.deadline_s for text in group),
                    )
                    self._queue(group, encoded, started_s)
        except Exception as error:  # noqa: BLE001  (whatever it is, these texts have no answer)
            self._results.failed(texts, error)

    def _encode_now(self, texts: list[PendingText]) -> bool:
        started_s = time.monotonic()
        encoded = self._stages.encode_now(texts[0].digest, [text.text for text in texts])
        if encoded is not None:
            self._queue(texts, encoded, started_s)
        return encoded is not None

    def _queue(self, texts: list[PendingText], encoded: Encodings, started_s: float) -> None:
        ended_s = time.monotonic()
        tokenize_s = ended_s - started_s
        self._results.tokenized(tokenize_s)
        self._metrics.hop_texts.observe(len(texts))
        if traced := rows_of(text.trace for text in texts):
            if encoded.spans:
                next(iter(traced)).adopt(encoded.spans)
            else:
                tokenized(traced, encoded, started_s, ended_s)
        ends = encoded.lengths.cumsum().tolist()
        start = 0
        for text, end, truncated in zip(texts, ends, encoded.truncated.tolist(), strict=True):
            text.ids = encoded.ids[start:end]
            text.n_tokens, text.truncated, text.tokenize_s = end - start, truncated, tokenize_s
            text.receiver, text.started_s = self, None
            start = end
        self._stages.submit(texts)


def _contexts(texts: Sequence[PendingText]) -> Contexts:
    contexts = tuple(text.context for text in texts)
    return contexts if any(contexts) else ()
