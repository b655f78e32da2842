"""The scores of engine batches, and of the payloads whose texts were in them."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from deployments.batching.encoded_text import EncodedText
from deployments.batching.scheduler import Expired
from deployments.model.spans import engine_spans, queue_spans
from deployments.payloads import EncodingBatch, FloatArray, ScoreBatch
from deployments.telemetry.spans import Span
from registry.records import Bundle


def engine_answer(
    bundle: Bundle,
    texts: Sequence[EncodedText],
    scores: Mapping[int, FloatArray],
    infer_s: float,
    cost_s: float,
) -> ScoreBatch:
    """What one engine batch said.

    Args:
        bundle: That ran.
        texts: Its rows.
        scores: By row, NaN where the model has no answer; none of rows that nobody wanted.
        infer_s: How long it took until now.
        cost_s: What the cost surface says that it takes.
    """
    count, rows = len(texts), list(scores)
    values = np.full((count, len(bundle.labels)), np.nan, dtype=np.float32)
    expired = np.ones(count, dtype=np.bool_)
    if rows:
        values[rows] = np.stack([scores[row] for row in rows])
        expired[rows] = False
    failed = ~expired & np.isnan(values[:, 0])
    lengths = [len(texts[row].ids) for row in rows]
    # A batch that ran in parts says nothing of the cost of the whole.
    whole = len(rows) == count and not failed.any()
    facts = (count, sum(lengths), count * max(lengths, default=0), cost_s, infer_s)
    waited_s = [text.waited_s for text in texts]
    return ScoreBatch(
        bundle.digest,
        values,
        expired,
        failed,
        np.array(waited_s, dtype=np.float32),
        np.full(count, infer_s, dtype=np.float32),
        np.full(count, cost_s / count, dtype=np.float32),
        np.array([facts] if whole else [], dtype=np.float32).reshape(int(whole), 5),
        engine_spans([texts[row] for row in rows], bundle.digest, facts),
    )


class _Row(EncodedText):
    """A text of a payload, and its place in it."""

    __slots__ = ("place",)
    place: int


class Call:
    """One payload while its texts are in engine batches, with those of others."""

    def __init__(self, batch: EncodingBatch, labels: int) -> None:
        """Makes its texts; for one event loop."""
        loop = asyncio.get_running_loop()
        count = len(batch.lengths)
        self._batch = batch
        self._done: asyncio.Future[None] = loop.create_future()
        self._left = count
        self._scores = np.full((count, labels), np.nan, dtype=np.float32)
        self._expired = np.zeros(count, dtype=np.bool_)
        # Rows: queue, infer, cost.
        self._seconds = np.zeros((3, count), dtype=np.float32)
        self._facts: list[FloatArray] = [np.zeros((0, 5), dtype=np.float32)]
        self._spans: list[Span] = []
        now = time.monotonic()
        rows = np.split(batch.ids, np.cumsum(batch.lengths)[:-1])
        contexts = batch.contexts or (None,) * count
        given = zip(rows, contexts, batch.remaining_s.tolist(), batch.bulk.tolist(), strict=True)
        self._texts = []
        for place, (ids, context, remaining_s, bulk) in enumerate(given):
            text = _Row(
                batch.digest,
                self,
                now + remaining_s,
                bulk=bulk,
                queued_s=now,
                context=context,
                ids=ids,
            )
            text.place = place
            self._texts.append(text)

    def by_class(self) -> Iterator[list[EncodedText]]:
        """Its interactive texts, and its bulk ones, where there are any."""
        for bulk in (False, True):
            texts: list[EncodedText] = [text for text in self._texts if text.bulk is bulk]
            if texts:
                yield texts

    async def answer(self) -> ScoreBatch:
        """Waits for all texts; one that is cancelled withdraws them.

        Raises:
            Exception: That of an engine batch, if one of these texts was in it.
        """
        try:
            if self._left:
                await self._done
        finally:
            for text in self._texts:
                text.done = True
        queue_s, infer_s, cost_s = self._seconds
        if self._batch.contexts:
            self._spans += queue_spans(self._texts, self._batch.contexts)
        failed = ~self._expired & np.isnan(self._scores[:, 0])
        facts = np.concatenate(self._facts)
        return ScoreBatch(
            self._batch.digest,
            self._scores,
            self._expired,
            failed,
            queue_s,
            infer_s,
            cost_s,
            facts,
            tuple(self._spans),
        )

    def scored(self, texts: Sequence[EncodedText], rows: Sequence[int], answer: ScoreBatch) -> None:
        """See ``Receiver.scored``."""
        places, rows = [text.place for text in texts if isinstance(text, _Row)], list(rows)
        self._scores[places] = answer.scores[rows]
        self._expired[places] = answer.expired[rows]
        taken = (answer.queue_s, answer.infer_s, answer.cost_s)
        for seconds, of_batch in zip(self._seconds, taken, strict=True):
            seconds[places] = of_batch[rows]
        if rows[0] == 0:
            self._facts.append(answer.batches)
        self._spans += answer.spans
        self._ended(len(texts))

    def failed(self, texts: Sequence[EncodedText], error: Exception) -> None:
        """See ``Receiver.failed``."""
        if isinstance(error, Expired):
            self._expired[[text.place for text in texts if isinstance(text, _Row)]] = True
        elif not self._done.done():
            self._done.set_exception(error)
        self._ended(len(texts))

    def _ended(self, count: int) -> None:
        self._left -= count
        if not self._left and not self._done.done():
            self._done.set_result(None)
