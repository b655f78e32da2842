"""What becomes of messages when the model, a text or Kafka fails. No broker, no Ray."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast
from unittest.mock import Mock

import numpy as np
import pytest
from front import LIVE
from head_models import KINDS, TEXTS, bundle_of, expected, version_of
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from poison_model import GOOD, NO_ROW, POISON, PoisonStages

from configs.schema.app import AppConfig, LimitsConfig
from configs.schema.stream import StreamConfig
from configs.schema.tracing import TracingConfig
from deployments.errors import InferenceFailed, Overloaded, RequestError
from deployments.inference.classifier import Classifier
from deployments.inference.predictor import Predictor
from deployments.prediction_log.log import PredictionLog
from deployments.prediction_log.rows import LoggedAnswer
from deployments.predictions import Outcome, Prediction
from deployments.stream.messages import Message, Outgoing
from deployments.stream.offsets import Delivery, PartitionOffsets
from deployments.stream.processor import Processor
from deployments.stream.producer import Answers
from deployments.telemetry.metrics import Metrics
from deployments.telemetry.spans import Span, Trace
from deployments.telemetry.tracer import Tracer
from deployments.versions import CurrentRoutes, RoutingTable, ServedVersion

OUTCOME = Outcome(Prediction(np.array([0.25, 0.75], dtype=np.float32), 5, False), cached=False)
FAST = StreamConfig(backoff_ms=1, backoff_max_ms=4)


class World:
    """A classifier, a broker and a reader that do as they are told."""

    def __init__(self, config: StreamConfig = FAST) -> None:
        self.config = config
        self.live = LIVE
        self.poison = {"poison"}
        self.model_up = True
        self.full_for = 0
        self.asked: list[list[str]] = []
        self.traced: list[bool] = []
        self.spans: list[Span] = []
        self.tracer: Tracer | None = None
        self.refuse: Callable[[Outgoing], Exception | None] = lambda record: None
        self.written: list[Outgoing] = []
        self.acknowledged: list[int] = []
        self.answered: list[str] = []
        self.metrics = Metrics()
        self.observer = Mock()

    def pump(self) -> Processor:
        return Processor(
            self.config,
            Predictor(
                cast("Classifier", self),
                CurrentRoutes(RoutingTable(1, self.live)),
                self.observer,
                LimitsConfig(),
                self.metrics,
                source="kafka",
                log=cast("PredictionLog", self),
            ),
            send=self.send,
            acknowledge=lambda ds: self.acknowledged.extend(d.message.offset for d in ds),
            metrics=self.metrics.stream,
            tracer=self.tracer,
        )

    def add(self, answered: LoggedAnswer) -> None:
        """See ``PredictionLog.add``."""
        assert answered.source == "kafka"
        self.answered.append(answered.text)

    async def classify(
        self,
        model: ServedVersion,
        texts: Sequence[str],
        deadline_s: float,
        *,
        caller: str = "",
        bulk: bool = False,
        traces: Sequence[Trace | None] = (),
    ) -> list[Outcome | RequestError]:
        assert bulk
        self.traced += [trace is not None for trace in traces]
        assert deadline_s > time.monotonic()
        self.asked.append(list(texts))
        if self.full_for:
            self.full_for -= 1
            raise Overloaded("full", {"retry_after_s": 1, "retry_after_ms": 1})
        # One text that the model chokes on takes its whole batch with it.
        broken = not self.model_up or self.poison & set(texts)
        return [InferenceFailed("no") if broken else OUTCOME for _ in texts]

    async def send(self, records: Sequence[Outgoing]) -> Answers:
        answers = [self.refuse(record) for record in records]
        self.written += [r for r, e in zip(records, answers, strict=True) if e is None]
        return answers

    def topics(self) -> list[str]:
        return [record.topic for record in self.written]

    def total(self, name: str) -> float:
        return self.metrics.totals()[name]


def batch(*texts: str | bytes) -> list[Delivery]:
    return [
        Delivery(
            Message(
                "sentiment_requests",
                0,
                i,
                0,
                b"k",
                t if isinstance(t, bytes) else json.dumps({"id": f"m{i}", "text": t}).encode(),
            ),
            PartitionOffsets(),
            time.monotonic(),
        )
        for i, t in enumerate(texts)
    ]


def run(
    world: World, *batches: list[Delivery], meanwhile: Awaitable[None] | None = None
) -> Processor:
    async def body() -> Processor:
        pump = world.pump()
        for deliveries in batches:
            pump.take(deliveries)
        if meanwhile is not None:
            await meanwhile
        assert await pump.drain(5)
        return pump

    return asyncio.run(body())


def test_valid_texts_are_answered_and_malformed_ones_buried() -> None:
    world = World()
    run(world, batch("good", b"{bad", "fine"))
    assert sorted(world.topics()) == ["sentiment_requests_dlq", *2 * ["sentiment_responses"]]
    assert sorted(world.acknowledged) == [0, 1, 2]
    assert world.answered == ["good", "fine"]
    (told,) = world.observer.answered.call_args_list
    model, answers, keys = told.args
    assert model == LIVE
    assert [answer.text for answer in answers] == ["good", "fine"]
    assert keys == [b"m0", b"m2"]
    assert world.asked == [["good", "fine"]]
    assert world.total("kafka_messages_processed_total") == 2
    assert world.total("kafka_dlq_messages_total") == 1
    assert world.total("kafka_message_processing_duration_seconds_count") == 3


def test_a_poison_text_is_buried_alone_after_its_attempts() -> None:
    world = World()
    run(world, batch("good", "poison", "fine"))
    assert sorted(world.topics()) == ["sentiment_requests_dlq", *2 * ["sentiment_responses"]]
    (letter,) = [r for r in world.written if r.topic == "sentiment_requests_dlq"]
    assert json.loads(letter.value)["retry_count"] == FAST.max_attempts
    assert json.loads(letter.value)["error"]["error_code"] == "E2002"
    assert sum("poison" in texts for texts in world.asked) == FAST.max_attempts
    assert sorted(world.acknowledged) == [0, 1, 2]


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_attempts_are_as_many_as_configured(attempts: int) -> None:
    world = World(FAST.model_copy(update={"max_attempts": attempts}))
    run(world, batch("poison"))
    assert sum(texts == ["poison"] for texts in world.asked) == attempts


def test_an_outage_of_the_model_buries_nothing_however_long() -> None:
    world = World()
    world.model_up = False

    async def outage() -> None:
        await asyncio.sleep(0.2)
        assert len(world.asked) > 4 * FAST.max_attempts
        assert world.written == []
        world.model_up = True

    run(world, batch("good", "fine"), batch("more"), meanwhile=outage())
    assert world.topics() == ["sentiment_responses"] * 3


def test_the_deadline_of_a_batch_is_the_configured_one() -> None:
    world = World(FAST.model_copy(update={"processing_timeout_ms": 120}))
    deadlines: list[float] = []

    async def classify(*given: object, **_: object) -> list[Outcome | RequestError]:
        deadlines.append(float(given[2]) - time.monotonic())  # type: ignore[arg-type]
        return [OUTCOME]

    world.classify = classify  # type: ignore[method-assign, assignment]
    run(world, batch("good"))
    assert 0.1 < deadlines[0] <= 0.12


def test_no_room_in_the_graph_is_waited_for_and_nobodys_failure() -> None:
    world = World()
    world.full_for = 20
    run(world, batch("good"))
    assert world.topics() == ["sentiment_responses"]
    assert world.total("kafka_messages_failed_total") == 0


def test_what_kafka_did_not_acknowledge_is_sent_again_and_only_that() -> None:
    world = World()
    failures = iter([None, KafkaTimeoutError(), KafkaTimeoutError()])
    world.refuse = lambda record: next(failures, None)
    run(world, batch("good", "fine"))
    assert [record.key for record in world.written] == [b"m0", b"m1"]
    assert world.acknowledged == [0, 1]
    assert world.total("kafka_send_failures_total") == 2


def test_a_letter_that_does_not_fit_goes_without_content() -> None:
    world = World()
    world.refuse = lambda r: MessageSizeTooLargeError() if len(r.value) > 2_000 else None
    run(world, batch(b"\xff" * 4_000))
    assert json.loads(world.written[0].value)["omitted_bytes"] == 4_000
    assert world.acknowledged == [0]


def test_draining_ends_in_time_and_acknowledges_nothing_it_did_not_write() -> None:
    world = World()
    world.refuse = lambda record: KafkaTimeoutError()

    async def body() -> bool:
        pump = world.pump()
        pump.take(batch("good"))
        assert pump.batches == 1
        return await pump.drain(0.05)

    assert asyncio.run(body()) is False
    assert world.acknowledged == []


def test_an_unforeseen_error_is_told_and_acknowledges_nothing() -> None:
    world = World()

    def explode(_: Outgoing) -> Exception | None:
        raise ZeroDivisionError

    world.refuse = explode
    pump = run(world, batch("good"))
    assert pump.broken
    assert world.acknowledged == []


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, NOT_SAMPLED = (f"00-{TRACE}-{SPAN}-{flags}".encode() for flags in ("01", "00"))


def with_headers(delivery: Delivery, parent: bytes) -> Delivery:
    headers = (("traceparent", parent), ("tracestate", b"vendor=1"))
    return replace(delivery, message=replace(delivery.message, headers=headers))


def test_the_trace_of_a_message_goes_on_in_its_result() -> None:
    world = World()
    world.tracer = Tracer(TracingConfig(sample_ratio=0), "Stream", world.spans.append)
    sampled, unsampled, plain = batch("good", "fine", "nice")
    run(world, [with_headers(sampled, SAMPLED), with_headers(unsampled, NOT_SAMPLED), plain])
    (span,) = world.spans
    assert span.kind == "consumer"
    assert span.name == "process sentiment_requests"
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent_id:016x}" == SPAN
    assert span.attributes["messaging.kafka.offset"] == 0
    assert span.attributes["sentigraph.model.version"] == LIVE.version
    assert world.traced == [True, False, False]
    first, second, third = (dict(record.headers) for record in world.written)
    # What reads the result continues after our span; an unsampled trace passes as it is.
    assert first["traceparent"].decode() == span.context.traceparent
    assert first["tracestate"] == second["tracestate"] == b"vendor=1"
    assert second["traceparent"] == NOT_SAMPLED
    assert "traceparent" not in third


def test_a_dead_letter_ends_its_trace_as_a_failure() -> None:
    world = World()
    world.tracer = Tracer(TracingConfig(sample_ratio=0), "Stream", world.spans.append)
    good, poison = batch("good", "poison")
    run(world, [good, with_headers(poison, SAMPLED)])
    (span,) = world.spans
    assert span.error == span.attributes["error.type"] == "E2002"
    (letter,) = [r for r in world.written if r.topic == "sentiment_requests_dlq"]
    # It is kept as it came, to be sent again.
    assert dict(letter.headers)["traceparent"] == SAMPLED


def through_real_stages(stages: PoisonStages, *texts: str, model: ServedVersion = LIVE) -> World:
    """What becomes of a batch of messages; only the broker is none."""

    async def body() -> World:
        world, config = World(), AppConfig.model_validate({"cache": {"l2": "none"}})
        world.live = model
        world.classify = Classifier(  # type: ignore[method-assign]
            config, stages.classify, None, world.metrics, hops_in_flight=2, engines=1
        ).classify
        pump = world.pump()
        pump.take(batch(*texts))
        assert await pump.drain(10)
        return world

    return asyncio.run(body())


@pytest.mark.parametrize("name", KINDS)
def test_results_say_what_the_scores_of_each_kind_of_head_mean(tmp_path: Path, name: str) -> None:
    bundle = bundle_of(name, tmp_path)
    stages = PoisonStages(tmp_path, bundle)
    world = through_real_stages(stages, *TEXTS, NO_ROW, model=version_of(bundle))
    results = [json.loads(r.value) for r in world.written if r.topic == "sentiment_responses"]
    found = {result["id"]: result for result in results}
    assert len(found) == len(TEXTS)
    for i, text in enumerate(TEXTS):
        result, scores = found[f"m{i}"], expected(bundle, text)
        assert result["scores"] == pytest.approx(scores, abs=2e-6)
        assert (
            result["score"] == result["scores"][result["label"]] == max(result["scores"].values())
        )
        if bundle.head.task == "multi_label":
            limits = dict(zip(bundle.labels, bundle.head.thresholds, strict=True))
            assert result["labels"] == [each for each in scores if scores[each] >= limits[each]]
        else:
            assert result.get("labels") is None
    assert world.topics().count("sentiment_requests_dlq") == 1


@pytest.mark.parametrize("poison", POISON)
def test_a_batch_of_messages_with_one_poison_through_the_real_stages(
    tmp_path: Path, poison: str
) -> None:
    world = through_real_stages(PoisonStages(tmp_path), *GOOD[:6], poison, *GOOD[6:])
    (letter,) = [r for r in world.written if r.topic == "sentiment_requests_dlq"]
    assert json.loads(letter.value)["error"]["error_code"] == "E2002"
    assert letter.key == b"k"
    assert sorted(world.answered) == sorted(GOOD)
    assert sorted(world.acknowledged) == list(range(13))
