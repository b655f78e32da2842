"""Processes micro-batches, many at once: parse, predict, write, acknowledge.

    Consumer ─▶ take ─▶ parse ─┬─▶ Predictor ─▶ result ─┬─▶ Producer ─▶ acknowledge
                               └──▶ dead letter ────────┘

A text that failed is tried again alone, so a text that breaks every batch it is in fails no
others. Attempts count only while the model answers other texts: during an outage messages wait,
however long it lasts, and none becomes a dead letter. Plain asyncio.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from kafka.errors import MessageSizeTooLargeError

from configs.schema.stream import StreamConfig
from deployments.clients.backoff import Backoff
from deployments.errors import Overloaded, RequestError
from deployments.inference.prediction_ids import Origin
from deployments.inference.predictor import Predictor
from deployments.predictions import Answer, Predictions
from deployments.stream.dead_letters import dead_letter, header, without_content
from deployments.stream.messages import (
    Outgoing,
    StreamRequest,
    read_request,
    result,
)
from deployments.stream.offsets import Delivery
from deployments.stream.producer import Answers
from deployments.stream.spans import end_message
from deployments.telemetry.spans import Trace
from deployments.telemetry.stream_metrics import StreamMetrics
from deployments.telemetry.tracer import Tracer
from deployments.versions import ServedVersion, routing_key

_log = logging.getLogger("ray.serve")
Acknowledge = Callable[[Sequence[Delivery]], None]
_Request = tuple[Delivery, StreamRequest, Trace | None]


class Send(Protocol):
    """``Producer.send``."""

    def __call__(self, records: Sequence[Outgoing]) -> Awaitable[Answers]:
        """None for each message that is acknowledged, else why not."""
        ...


class Processor:
    """All messages of one replica that are read and not acknowledged. For one event loop.

    Attributes:
        broken: An unforeseen error left messages that this replica will never acknowledge;
            another replica reads them again once it has their partition.
    """

    def __init__(
        self,
        config: StreamConfig,
        predictor: Predictor,
        *,
        send: Send,
        acknowledge: Acknowledge,
        metrics: StreamMetrics,
        tracer: Tracer | None = None,
    ) -> None:
        """Wires the flow.

        Args:
            config: Attempts, pauses, topics.
            predictor: Answers the texts.
            send: Writes to Kafka.
            acknowledge: Called with the messages whose results are in Kafka.
            metrics: Where facts are counted.
            tracer: Decides which messages are traced; without one none is.
        """
        self._tracer = tracer
        self._config = config
        self._predictor = predictor
        self._send = send
        self._acknowledge = acknowledge
        self._metrics = metrics
        self._backoff = Backoff(config.backoff_ms, config.backoff_max_ms)
        self._one_by_one = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.broken = False

    def take(self, batch: Sequence[Delivery]) -> None:
        """Starts to process a micro-batch."""
        task = asyncio.get_running_loop().create_task(self._run(batch))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.broken = True
            _log.error("a micro-batch met an unforeseen error", exc_info=error)

    @property
    def batches(self) -> int:
        """Micro-batches under way."""
        return len(self._tasks)

    async def drain(self, wait_s: float) -> bool:
        """Waits for ``wait_s`` at most, then cancels what is left; whether nothing was left."""
        if not self._tasks:
            return True
        _, left = await asyncio.wait(self._tasks, timeout=wait_s)
        for task in left:
            task.cancel()
        return not left

    async def _run(self, batch: Sequence[Delivery]) -> None:
        readable: list[_Request] = []
        unreadable: list[tuple[Delivery, Outgoing]] = []
        for delivery in batch:
            try:
                request = read_request(delivery.message, self._predictor.check)
                readable.append((delivery, request, self._begin(delivery)))
            except RequestError as refusal:
                unreadable.append((delivery, self._letter(delivery, refusal, attempts=0)))
        _, failed = await asyncio.gather(self._write(unreadable), self._attempt(readable))
        for asked, error in failed:
            await self._again(asked, error)

    async def _attempt(self, requests: Sequence[_Request]) -> list[tuple[_Request, RequestError]]:
        """Writes the results of what can be answered; returns what failed, and why."""
        by_model: dict[ServedVersion, list[_Request]] = {}
        for asked in requests:
            by_model.setdefault(self._predictor.choose(_key(asked[1])), []).append(asked)
        failed: list[tuple[_Request, RequestError]] = []
        for model, group in by_model.items():
            answers = await self._ask(model, group)
            answered = []
            for asked, answer in zip(group, answers, strict=True):
                if isinstance(answer, Answer):
                    answered.append((asked, answer))
                else:
                    failed.append((asked, answer))
            await self._answer(answered)
        return failed

    async def _ask(
        self, model: ServedVersion, group: Sequence[_Request]
    ) -> list[Answer | RequestError]:
        """Has texts answered; waits while the graph has no room, which is no failure of a text."""
        traces = [trace for *_, trace in group]
        while True:
            deadline_s = time.monotonic() + self._config.processing_timeout_ms / 1_000
            try:
                return await self._predictor.answer(
                    model,
                    [request.text for _, request, _ in group],
                    deadline_s=deadline_s,
                    bulk=True,
                    keys=[_key(request) for _, request, _ in group],
                    traces=traces if any(traces) else (),
                    origins=[
                        Origin(delivery.message.timestamp_ms, request.id)
                        for delivery, request, _ in group
                    ],
                )
            except Overloaded as full:
                pause_ms = full.context["retry_after_ms"]
                assert isinstance(pause_ms, int)
                await asyncio.sleep(min(max(pause_ms, 10), self._config.backoff_max_ms) / 1_000)

    async def _answer(self, answered: Sequence[tuple[_Request, Answer]]) -> None:
        topic = self._config.responses_topic
        await self._write(
            [
                (delivery, result(topic, delivery.message, request, answer, trace=trace))
                for (delivery, request, trace), answer in answered
            ]
        )
        self._metrics.processed.inc(len(answered))
        for (delivery, _, trace), answer in answered:
            if trace is not None:
                facts = Predictions(answer.model, [answer], [answer.text]).facts()
                end_message(trace, delivery, facts)

    async def _again(self, request: _Request, error: RequestError) -> None:
        """Tries one text alone until it is answered or its attempts are used up."""
        attempts = pauses = 0
        while True:
            self._metrics.failed.labels(error.code).inc()
            # Where the model answers nothing at all, the failure says nothing about this text.
            timeout_s = self._config.processing_timeout_ms / 1_000
            attempts += await self._predictor.can_answer(time.monotonic() + timeout_s)
            if attempts >= self._config.max_attempts:
                break
            pauses += 1
            await asyncio.sleep(self._backoff.pause_s(pauses))
            self._metrics.retried.inc()
            async with self._one_by_one:
                failed = await self._attempt([request])
            if not failed:
                return
            ((_, error),) = failed
        delivery, _, trace = request
        await self._write([(delivery, self._letter(delivery, error, attempts))])
        if trace is not None:
            end_message(trace, delivery, None, error.code)

    def _begin(self, delivery: Delivery) -> Trace | None:
        if self._tracer is None:
            return None
        message = delivery.message

        def value_of(name: str) -> str | None:
            found = header(message.headers, name)
            return None if found is None else found.decode("latin-1")

        return self._tracer.begin(message.topic, value_of)

    def _letter(self, delivery: Delivery, error: RequestError, attempts: int) -> Outgoing:
        self._metrics.dead_letters.labels(error.code).inc()
        return dead_letter(
            self._config.dlq_topic, delivery.message, error, attempts, datetime.now(UTC)
        )

    async def _write(self, records: Sequence[tuple[Delivery, Outgoing]]) -> None:
        """Returns when Kafka has acknowledged all; sends again, however long a broker is away."""
        pending = list(records)
        failures = 0
        while pending:
            answers = await self._send([record for _, record in pending])
            done = [d for (d, _), error in zip(pending, answers, strict=True) if error is None]
            self._acknowledge(done)
            now = time.monotonic()
            for delivery in done:
                self._metrics.processing_seconds.observe(now - delivery.read_s)
            pending = [
                (delivery, self._smaller(record) if _is_too_large(error) else record)
                for (delivery, record), error in zip(pending, answers, strict=True)
                if error is not None
            ]
            if pending:
                failures += 1
                self._metrics.send_failures.inc(len(pending))
                kinds = {type(error).__name__ for error in answers if error is not None}
                _log.warning("%s messages are sent again: %s", len(pending), ", ".join(kinds))
                await asyncio.sleep(self._backoff.pause_s(failures))

    def _smaller(self, record: Outgoing) -> Outgoing:
        """The record without what can be left out, after Kafka refused it as too large."""
        if record.topic == self._config.dlq_topic:
            record = without_content(record)
        return replace(record, headers=())


def _key(request: StreamRequest) -> bytes:
    return routing_key(request.id, ())


def _is_too_large(error: Exception) -> bool:
    return isinstance(error, MessageSizeTooLargeError)
