"""Predictions and feedback: methods of the clients themselves."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

from sentigraph_client._call import (
    AsyncResource,
    Call,
    Flow,
    Operation,
    SyncResource,
    given,
    operation,
)
from sentigraph_client._models import (
    BatchItem,
    BatchPrediction,
    FeedbackReceipt,
    Prediction,
)
from sentigraph_client.errors import InvalidRequest, TooLarge

Priority = Literal["interactive", "bulk"]
_TOO_MANY_TEXTS = "E1005"
# What a server takes unless it is set otherwise; one that takes less is sent less.
_MAX_TEXTS, _MAX_BYTES = 1_000, 4_000_000


class _Predictions:
    @operation("predict")
    def predict(
        self,
        text: str,
        *,
        deadline_s: float | None = None,
        priority: Priority | None = None,
        routing_key: str | None = None,
    ) -> Call[Prediction]:
        """Classifies one text.

        Args:
            text: Not blank.
            deadline_s: When the answer is worthless; the client's ``timeout_s`` if not given.
            priority: Interactive texts go first.
            routing_key: Requests of one key are answered by one version during a release.
        """
        return Call(
            "POST",
            "/api/v1/predict",
            Prediction,
            json={"text": text},
            headers=_headers(priority, routing_key),
            repeatable=True,
            deadline=True,
            timeout_s=deadline_s,
        )

    @operation("predict_batch")
    def predict_batch(
        self,
        texts: Sequence[str],
        *,
        deadline_s: float | None = None,
        priority: Priority | None = None,
        routing_key: str | None = None,
    ) -> Call[BatchPrediction]:
        """Classifies several texts with one request; each may fail on its own."""
        return _batch(texts, deadline_s, priority, routing_key)

    @Operation
    def _predict_chunk(
        self,
        texts: Sequence[str],
        deadline_s: float | None,
        priority: Priority | None,
        routing_key: str | None,
    ) -> Flow[list[BatchItem]]:
        """The items of some texts; halved as often as the server takes fewer."""
        return (yield from _chunk(texts, deadline_s, priority, routing_key))

    @operation("feedback")
    def feedback(self, prediction_id: str, corrected_label: str) -> Call[FeedbackReceipt]:
        """Says what would have been right; releases measure live accuracy by it."""
        body = {"prediction_id": prediction_id, "corrected_label": corrected_label}
        return Call("POST", "/api/v1/feedback", FeedbackReceipt, json=body)


class Predictions(_Predictions, SyncResource):
    """Predictions of the sync client."""

    def predict_many(
        self,
        texts: Iterable[str],
        *,
        concurrency: int = 4,
        max_texts: int = _MAX_TEXTS,
        deadline_s: float | None = None,
        priority: Priority | None = "bulk",
        routing_key: str | None = None,
    ) -> Iterator[BatchItem]:
        """Classifies any number of texts, in their order; errors of texts are items too.

        Args:
            texts: Read as results are taken; ``index`` counts them from 0.
            concurrency: Requests at once.
            max_texts: Of a request; a server that takes fewer is sent fewer.
            deadline_s: Of a request.
            priority: Of all requests.
            routing_key: Of all requests.
        """
        running: deque[Future[list[BatchItem]]] = deque()
        done = 0
        with ThreadPoolExecutor(concurrency) as pool:
            for chunk in _chunks(texts, max_texts):
                options = (deadline_s, priority, routing_key)
                running.append(pool.submit(self._predict_chunk, chunk, *options))
                if len(running) < concurrency:
                    continue
                items = running.popleft().result()
                yield from _numbered(items, done)
                done += len(items)
            while running:
                items = running.popleft().result()
                yield from _numbered(items, done)
                done += len(items)


class AsyncPredictions(_Predictions, AsyncResource):
    """Predictions of the async client."""

    async def predict_many(
        self,
        texts: Iterable[str],
        *,
        concurrency: int = 4,
        max_texts: int = _MAX_TEXTS,
        deadline_s: float | None = None,
        priority: Priority | None = "bulk",
        routing_key: str | None = None,
    ) -> AsyncIterator[BatchItem]:
        """See ``Predictions.predict_many``."""
        running: deque[asyncio.Future[list[BatchItem]]] = deque()
        done = 0
        try:
            for chunk in _chunks(texts, max_texts):
                options = (deadline_s, priority, routing_key)
                running.append(asyncio.ensure_future(self._predict_chunk(chunk, *options)))
                if len(running) < concurrency:
                    continue
                items = await running.popleft()
                for item in _numbered(items, done):
                    yield item
                done += len(items)
            while running:
                items = await running.popleft()
                for item in _numbered(items, done):
                    yield item
                done += len(items)
        finally:
            for task in running:
                task.cancel()


def _headers(priority: Priority | None, routing_key: str | None) -> dict[str, str]:
    return given(**{"X-Priority": priority, "X-Routing-Key": routing_key})


def _batch(
    texts: Sequence[str],
    deadline_s: float | None,
    priority: Priority | None,
    routing_key: str | None,
) -> Call[BatchPrediction]:
    return Call(
        "POST",
        "/api/v1/predict/batch",
        BatchPrediction,
        json={"texts": list(texts)},
        headers=_headers(priority, routing_key),
        repeatable=True,
        deadline=True,
        timeout_s=deadline_s,
    )


def _chunk(
    texts: Sequence[str],
    deadline_s: float | None,
    priority: Priority | None,
    routing_key: str | None,
) -> Flow[list[BatchItem]]:
    options = (deadline_s, priority, routing_key)
    try:
        answer: BatchPrediction = yield _batch(texts, *options)
    except (TooLarge, InvalidRequest) as error:
        too_many = isinstance(error, TooLarge) or error.error_code == _TOO_MANY_TEXTS
        if not too_many or len(texts) == 1:
            raise
    else:
        return list(answer.results)
    half = len(texts) // 2
    first = yield from _chunk(texts[:half], *options)
    second = yield from _chunk(texts[half:], *options)
    return first + second


def _chunks(texts: Iterable[str], max_texts: int) -> Iterator[list[str]]:
    """The texts in pieces that a request holds."""
    chunk: list[str] = []
    size = 0
    for text in texts:
        # Quotes and comma; escapes may double a text, and then the server's 413 halves the piece.
        bytes_of_text = len(text.encode("utf-8", "surrogatepass")) + 3
        if chunk and (len(chunk) == max_texts or size + bytes_of_text > _MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(text)
        size += bytes_of_text
    if chunk:
        yield chunk


def _numbered(items: Sequence[BatchItem], start: int) -> Iterator[BatchItem]:
    for offset, item in enumerate(items):
        yield item.model_copy(update={"index": start + offset})
