"""The road by RPCs: micro-batches of texts go to the tokenizer stage, which asks the model."""

import asyncio
import time
from collections.abc import Callable, Sequence

import numpy as np

from configs.schema.app import AppConfig
from deployments.batching.encoded_text import EncodedText
from deployments.batching.micro_batches import MicroBatches
from deployments.batching.scheduler import Expired
from deployments.clients.backoff import Backoff
from deployments.inference.pending_text import PendingText
from deployments.inference.results import Results
from deployments.inference.spans import HopSpans, queued
from deployments.payloads import Contexts, ModelAnswer, RunTexts, ScoreBatch, TextBatch
from deployments.telemetry.metrics import Metrics
from deployments.telemetry.spans import rows_of

# Sending a micro-batch again after a lost replica: Serve routes around it within this time.
_MAX_RETRIES = 7
_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS = 50, 2_000


class Dispatcher:
    """Answers the texts of one replica in micro-batches. A ``Road``."""

    def __init__(
        self,
        run_texts: RunTexts,
        results: Results,
        config: AppConfig,
        metrics: Metrics,
        *,
        calls: int,
        is_lost: Callable[[Exception], bool],
    ) -> None:
        """Makes it.

        Args:
            run_texts: The tokenizer stage.
            results: Where texts end.
            config: Sizes.
            metrics: Where facts are counted.
            calls: Micro-batches of one class in flight at once.
            is_lost: Whether an error of ``run_texts`` means that a replica died with the batch.
        """
        self._run_texts = run_texts
        self._results = results
        self._metrics = metrics
        self._is_lost = is_lost
        self._backoff = Backoff(_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS)
        self._waiting = MicroBatches[PendingText](
            self._run,
            lambda texts: results.failed(texts, Expired()),
            calls=calls,
            max_texts=config.batching.max_hop_texts,
            bulk_ratio=config.batching.bulk_ratio,
        )

    def submit(self, texts: list[PendingText]) -> None:
        """See ``Road.submit``."""
        self._waiting.scheduler.submit(texts)

    def waiting(self, *, bulk: bool) -> int:
        """See ``Road.waiting``."""
        return self._waiting.scheduler.queued(bulk=bulk)

    def purge(self) -> None:
        """See ``Road.purge``."""
        self._waiting.scheduler.purge()

    def scored(self, texts: Sequence[EncodedText], rows: Sequence[int], answer: ScoreBatch) -> None:
        """See ``Receiver.scored``."""
        self._results.scored(texts, rows, answer)

    def failed(self, texts: Sequence[EncodedText], error: Exception) -> None:
        """See ``Receiver.failed``."""
        self._results.failed(texts, error)

    async def _run(self, texts: list[PendingText]) -> None:
        """Answers a micro-batch; stops it once nobody waits for any of its texts."""
        task = asyncio.get_running_loop().create_task(self._answer(texts))

        def on_leave() -> None:
            if all(text.done for text in texts):
                task.cancel()

        for text in texts:
            text.on_leave = on_leave
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
        if not task.cancelled() and (error := task.exception()) is not None:
            assert isinstance(error, Exception)
            self._results.failed(texts, error)

    async def _answer(self, texts: list[PendingText]) -> None:
        queued(rows_of(text.trace for text in texts), texts)
        by_model: dict[str, list[PendingText]] = {}
        for text in await self._results.look_up(texts):
            by_model.setdefault(text.digest, []).append(text)
        for digest, group in by_model.items():
            answer = await self._send(digest, group)
            self._results.tokenized(answer.tokenize_s)
            counts, cut = answer.n_tokens.tolist(), answer.truncated.tolist()
            for text, n_tokens, truncated in zip(group, counts, cut, strict=True):
                text.n_tokens, text.truncated = n_tokens, truncated
                text.tokenize_s = answer.tokenize_s
            self._results.scored(group, range(len(group)), answer.scores)

    async def _send(self, digest: str, texts: list[PendingText]) -> ModelAnswer:
        """One RPC, with a span in every trace that has a text in it."""
        rows = rows_of(text.trace for text in texts)
        if not rows:
            return await self._attempts(digest, texts, ())
        spans, started = HopSpans(rows, len(texts)), time.monotonic()
        answer, error = None, "cancelled"
        try:
            answer = await self._attempts(digest, texts, spans.contexts)
        except Exception as failed:
            error = type(failed).__name__
            raise
        else:
            error = ""
            return answer
        finally:
            spans.end(started, time.monotonic(), answer, error)

    async def _attempts(
        self, digest: str, waiting: list[PendingText], contexts: Contexts
    ) -> ModelAnswer:
        texts = [text.text for text in waiting]
        bulk = np.array([text.bulk for text in waiting])
        self._metrics.hop_texts.observe(len(texts))
        attempts = 0
        while True:
            attempts += 1
            now = time.monotonic()
            remaining_s = np.array([text.deadline_s - now for text in waiting], dtype=np.float32)
            try:
                return await self._run_texts(TextBatch(digest, texts, remaining_s, bulk, contexts))
            except Exception as error:
                pause_s = self._backoff.pause_s(attempts)
                late = attempts > _MAX_RETRIES or remaining_s.max() <= pause_s
                if late or not self._is_lost(error):
                    raise
                self._metrics.retries.inc()
                await asyncio.sleep(pause_s)
