import asyncio
import random
import statistics
import time
import uuid

import numpy as np
import pytest
from front import LIVE

from deployments.inference import traffic_counter
from deployments.inference.signals import seen
from deployments.inference.traffic_counter import TrafficCounter
from deployments.payloads import TrafficDelta
from deployments.predictions import Answer, Outcome, Prediction
from deployments.telemetry.metrics import Metrics

GOOD = Prediction(np.asarray([0.1, 0.9], np.float32), 4, False)


def answer(text: str) -> Answer:
    scores = {"NEG": 0.1, "POS": 0.9}
    return Answer(str(uuid.uuid4()), text, LIVE, Outcome(GOOD, cached=False), "POS", scores)


class Insight:
    """Takes deltas while ``up``."""

    def __init__(self) -> None:
        self.up = True
        self.taken: list[TrafficDelta] = []

    async def send(self, delta: TrafficDelta) -> bool:
        if self.up:
            self.taken.append(delta)
        return self.up


def counter(metrics: Metrics | None = None) -> TrafficCounter:
    return TrafficCounter(10, (metrics or Metrics()).insight)


def texts(deltas: list[TrafficDelta]) -> int:
    return sum(seen(model.counts) for delta in deltas for model in delta.models)


def test_answers_become_one_delta_without_any_text() -> None:
    counts, insight = counter(), Insight()
    for text in ("good", "fine", "good"):
        counts.add(answer(text))
    counts.count(100)
    counts.pack()
    asyncio.run(counts.send(insight.send))
    (delta,) = insight.taken
    (model,) = delta.models
    assert (model.digest, model.labels) == (LIVE.digest, LIVE.labels)
    assert model.counts["label"] == [0, 2]
    assert model.counts["repeated"] == [2, 1]
    assert "good" not in repr(delta)


def test_nothing_answered_is_no_delta() -> None:
    counts, insight = counter(), Insight()
    counts.pack()
    asyncio.run(counts.send(insight.send))
    assert insight.taken == []


def test_a_delta_that_is_sent_again_keeps_its_number() -> None:
    metrics, insight = Metrics(), Insight()
    counts = counter(metrics)
    insight.up = False
    for text in ("one", "two"):
        counts.add(answer(text))
        counts.count(1)
        counts.pack()
        asyncio.run(counts.send(insight.send))
    assert metrics.totals()["sentiment_drift_unsent_seconds"] > 0
    insight.up = True
    asyncio.run(counts.send(insight.send))
    assert [delta.number for delta in insight.taken] == [1, 2]
    assert len({delta.source for delta in insight.taken}) == 1
    assert metrics.totals()["sentiment_drift_unsent_seconds"] == 0
    assert metrics.totals()["sentiment_drift_texts_total"] == 2


def test_the_oldest_counts_are_dropped_and_counted_while_insight_is_away() -> None:
    metrics, insight = Metrics(), Insight()
    counts = counter(metrics)
    for number in range(70):
        counts.add(answer(f"text {number}"))
        counts.count(1)
        counts.pack()
    asyncio.run(counts.send(insight.send))
    assert [delta.number for delta in insight.taken] == list(range(11, 71))
    assert texts(insight.taken) == 60
    assert metrics.insight.texts.labels("dropped")._value.get() == 10


def test_a_full_queue_drops_and_counts() -> None:
    metrics = Metrics()
    counts = counter(metrics)
    for _ in range(traffic_counter._MAX_QUEUED + 5):
        counts.add(answer("text"))
    assert metrics.insight.texts.labels("dropped")._value.get() == 5


def test_a_text_that_comes_again_after_many_others_is_a_new_one() -> None:
    counts, insight = counter(), Insight()
    for text in ("first", *map(str, range(1_500)), "first"):
        counts.add(answer(text))
    counts.count(10_000)
    counts.pack()
    asyncio.run(counts.send(insight.send))
    assert insight.taken[0].models[0].counts["repeated"] == [1_502, 0]


def test_it_counts_and_sends_by_itself() -> None:
    async def run() -> None:
        counts, insight = TrafficCounter(0.05, Metrics().insight), Insight()
        counts.start(insight.send)
        for text in range(200):
            counts.add(answer(str(text)))
        async with asyncio.timeout(20):
            while texts(insight.taken) < 200:  # noqa: ASYNC110  (what is waited for has no event)
                await asyncio.sleep(0.02)

    asyncio.run(run())


@pytest.mark.slow
def test_counting_costs_microseconds() -> None:
    rng = random.Random(1)
    words = [
        "the",
        "a",
        "film",
        "was",
        "good",
        "bad",
        "very",
        "not",
        "really",
        "liked",
        "it",
        "plot",
        "actors",
        "great",
        "awful",
    ]
    some = [f"{' '.join(rng.choices(words, k=rng.randint(5, 40)))} {i}" for i in range(20_000)]
    spent: dict[str, list[float]] = {"append": [], "count": []}
    for _ in range(7):
        counts = counter()
        given = [answer(text) for text in some]
        begun = time.process_time()
        for each in given:
            counts.add(each)
        appended = time.process_time()
        counts.count(len(some))
        ended = time.process_time()
        for name, seconds in (("append", appended - begun), ("count", ended - appended)):
            spent[name].append(seconds / len(some) * 1e6)
    medians = {name: statistics.median(values) for name, values in spent.items()}
    print(", ".join(f"{name}: {value:.2f} us a text" for name, value in medians.items()))
    assert medians["append"] < 10
    assert medians["count"] < 50
