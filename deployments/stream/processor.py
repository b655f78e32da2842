"""Micro-batches on their way: parse, classify, write, acknowledge, many at once.

    Reader ─▶ take ─▶ parse ─┬─▶ classify ─▶ result ─┬─▶ Writer ─▶ acknowledge
                             └──▶ dead letter ───────┘

What fails is tried again one by one, so a text that breaks every batch it is in cannot take
others with it. Attempts count only while the model answers other texts: an outage is waited
out, however long, and nothing of it becomes a dead letter. Plain asyncio.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from kafka.errors import MessageSizeTooLargeError

from configs.schema.app import LimitsConfig
from configs.schema.stream import StreamConfig
from deployments.clients.backoff import Backoff
from deployments.errors import Overloaded, RequestError
from deployments.predictions import Outcome, served
from deployments.stream.dead_letters import dead_letter, header, without_content
from deployments.stream.messages import Outgoing, StreamRequest, read_request, result
from deployments.stream.offsets import Delivery
from deployments.stream.producer import Answers
from deployments.stream.spans import end_message
from deployments.telemetry.spans import Trace
from deployments.telemetry.stream_metrics import StreamMetrics
from deployments.telemetry.tracer import Tracer
from deployments.versions import ServedVersion

_log = logging.getLogger("ray.serve")
Acknowledge = Callable[[Sequence[Delivery]], None]
Answered = Callable[[StreamRequest, ServedVersion, Outcome], None]
_Request = tuple[Delivery, StreamRequest, Trace | None]


class Classify(Protocol):
    """``Classifier.classify``."""

    def __call__(
        self,
        model: ServedVersion,
        texts: Sequence[str],
        deadline_s: float,
        *,
        bulk: bool = False,
        traces: Sequence[Trace | None] = (),
    ) -> Awaitable[list[Outcome | RequestError]]:
        """One outcome or error for each text."""
        ...


class Send(Protocol):
    """``Writer.send``."""

    def __call__(self, records: Sequence[Outgoing]) -> Awaitable[Answers]:
        """None for each message that is acknowledged, else why not."""
        ...


class Processor:
    """All messages of one replica that are read and not acknowledged. For one event loop.

    Attributes:
        broken: An unforeseen error left messages that this replica will never acknowledge; they
            are read again once another replica has their partition.
    """

    def __init__(
        self,
        config: StreamConfig,
        limits: LimitsConfig,
        *,
        classify: Classify,
        choose: Callable[[str], ServedVersion],
        send: Send,
        acknowledge: Acknowledge,
        answered: Answered,
        metrics: StreamMetrics,
        tracer: Tracer | None = None,
    ) -> None:
        """Wires the flow.

        Args:
            config: Attempts, pauses, topics.
            limits: What a text may be.
            classify: The same way that HTTP takes.
            choose: The version for a message's id.
            send: To Kafka.
            acknowledge: Is told what is in Kafka.
            answered: Is told each prediction that is in Kafka.
            metrics: Where facts are counted.
            tracer: Decides which messages are traced; without one none is.
        """
        self._tracer = tracer
        self._config = config
        self._limits = limits
        self._classify = classify
        self._choose = choose
        self._send = send
        self._acknowledge = acknowledge
        self._answered = answered
        self._metrics = metrics
        self._backoff = Backoff(config.backoff_ms, config.backoff_max_ms)
        self._one_by_one = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.broken = False

    def take(self, batch: Sequence[Delivery]) -> None:
        """Starts a micro-batch on its way."""
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
        """Waits until all is acknowledged, then gives up the rest; whether nothing was left."""
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
                request = read_request(delivery.message, self._limits)
                readable.append((delivery, request, self._begin(delivery)))
            except RequestError as refusal:
                unreadable.append((delivery, self._letter(delivery, refusal, attempts=0)))
        _, failed = await asyncio.gather(self._write(unreadable), self._attempt(readable))
        for asked, error in failed:
            await self._again(asked, error)

    async def _attempt(self, requests: Sequence[_Request]) -> list[tuple[_Request, RequestError]]:
        """Classifies and writes what can be answered; returns what failed, and why."""
        by_model: dict[ServedVersion, list[_Request]] = {}
        for asked in requests:
            by_model.setdefault(self._choose(asked[1].id), []).append(asked)
        failed: list[tuple[_Request, RequestError]] = []
        for model, group in by_model.items():
            outcomes = await self._ask(model, group)
            answered = []
            for asked, outcome in zip(group, outcomes, strict=True):
                if isinstance(outcome, Outcome):
                    answered.append((asked, outcome))
                else:
                    failed.append((asked, outcome))
            await self._answer(model, answered)
        return failed

    async def _ask(
        self, model: ServedVersion, group: Sequence[_Request]
    ) -> list[Outcome | RequestError]:
        """Classifies; waits where the graph has no room, which is nobody's failure."""
        texts = [request.text for _, request, _ in group]
        traces = [trace for *_, trace in group]
        sampled = traces if any(traces) else ()
        while True:
            deadline_s = time.monotonic() + self._config.processing_timeout_ms / 1_000
            try:
                return await self._classify(model, texts, deadline_s, bulk=True, traces=sampled)
            except Overloaded as full:
                pause_ms = full.context["retry_after_ms"]
                assert isinstance(pause_ms, int)
                await asyncio.sleep(min(max(pause_ms, 10), self._config.backoff_max_ms) / 1_000)

    async def _answer(
        self, model: ServedVersion, answered: Sequence[tuple[_Request, Outcome]]
    ) -> None:
        await self._write(
            [(asked[0], self._result(model, asked, outcome)) for asked, outcome in answered]
        )
        self._metrics.processed.inc(len(answered))
        for (delivery, request, trace), outcome in answered:
            self._answered(request, model, outcome)
            if trace is not None:
                end_message(trace, delivery, served(model, [request.text], [outcome]))

    def _result(self, model: ServedVersion, asked: _Request, outcome: Outcome) -> Outgoing:
        delivery, request, trace = asked
        topic = self._config.responses_topic
        return result(topic, delivery.message, request, model, outcome.prediction, trace=trace)

    async def _again(self, request: _Request, error: RequestError) -> None:
        """Tries one text alone until it is answered or has had its attempts."""
        attempts = pauses = 0
        while True:
            self._metrics.failed.labels(error.code).inc()
            # Only a text that fails while others do not has itself to blame.
            attempts += await self._model_answers()
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

    async def _model_answers(self) -> bool:
        """Whether a text that nobody has asked for before is classified."""
        probe = f"ready? {uuid.uuid4()}"
        deadline_s = time.monotonic() + self._config.processing_timeout_ms / 1_000
        try:
            (outcome,) = await self._classify(self._choose(probe), [probe], deadline_s, bulk=True)
        except Overloaded:
            return False
        return isinstance(outcome, Outcome)

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
        """Returns when all are acknowledged; a broker that is away is waited for."""
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
        """A record that fits where this one did not."""
        if record.topic == self._config.dlq_topic:
            record = without_content(record)
        return replace(record, headers=())


def _is_too_large(error: Exception) -> bool:
    return isinstance(error, MessageSizeTooLargeError)
