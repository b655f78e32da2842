"""A hog beside a victim on the real path of a text, in a time that passes only while all wait."""

import asyncio
import itertools
import selectors
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest

from configs.schema.app import AppConfig, BatchingConfig, CacheConfig, LimitsConfig
from deployments.errors import Overloaded
from deployments.inference.classifier import Classifier
from deployments.inference.dispatcher import Dispatcher
from deployments.payloads import ModelAnswer, ScoreBatch, TextBatch
from deployments.predictions import Outcome
from deployments.telemetry.metrics import Metrics
from deployments.versions import ServedVersion

MODEL = ServedVersion("m", 1, "ab" * 32, ("NEG", "POS"), "onnx", "int8", 128, "registry")
SECONDS = 8.0


class Clock(selectors.DefaultSelector):
    """Of an event loop that never sleeps: its time is where the next timer is."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now_s += timeout or 0.0
        return super().select(0)


@pytest.fixture
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Awaitable[None]]], None]:
    def run(body: Callable[[], Awaitable[None]]) -> None:
        clock = Clock()
        monkeypatch.setattr(time, "monotonic", lambda: clock.now_s)
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(clock)) as runner:
            runner.run(body())  # type: ignore[arg-type]
        monkeypatch.undo()

    return run


InNoTime = Callable[[Callable[[], Awaitable[None]]], None]


class Engine:
    """One engine: a text takes 1 ms and 2 µs for each character; it notes whose it answered."""

    def __init__(self) -> None:
        self.busy = asyncio.Lock()
        self.done_s: Counter[str] = Counter()

    async def run(self, batch: TextBatch) -> ModelAnswer:
        costs = [1e-3 + 2e-6 * len(text) for text in batch.texts]
        async with self.busy:
            await asyncio.sleep(sum(costs))
        for text, cost in zip(batch.texts, costs, strict=True):
            self.done_s[text.split()[0]] += cost  # type: ignore[assignment]
        n = len(costs)
        zeros, no = np.zeros(n, dtype=np.float32), np.zeros(n, dtype=np.bool_)
        scores = np.tile(np.array([0.25, 0.75], dtype=np.float32), (n, 1))
        costs_s = np.array(costs, dtype=np.float32)
        return ModelAnswer(
            ScoreBatch(batch.digest, scores, no, no, zeros, zeros, costs_s, np.zeros((0, 5))),
            np.full(n, 5, dtype=np.int32),
            no,
            0.0,
        )


def make(engine: Engine, queued: int = 2_048) -> Classifier:
    config = AppConfig(
        limits=LimitsConfig(max_queued_texts=queued, max_batch_texts=queued),
        batching=BatchingConfig(max_hop_texts=min(64, queued)),
        cache=CacheConfig(l1_max_bytes=0),
    )
    made = Classifier(config, engine.run, None, Metrics(), hops_in_flight=2, engines=1)
    # Both took the clock when they were imported.
    in_flight = made._in_flight
    road = in_flight._turns.road
    assert isinstance(road, Dispatcher)
    road._waiting.scheduler._clock = in_flight._backlog._clock = time.monotonic
    return made


async def asks(
    classifier: Classifier, name: str, *, texts: int, chars: int, bulk: bool, until_s: float
) -> list[float]:
    """Asks again as soon as it is answered, or a moment after it was refused; the times."""
    took = []
    for turn in itertools.count():
        began_s = time.monotonic()
        if began_s >= until_s:
            return took
        batch = [f"{name} {id(took)} {turn} {i} {'x' * chars}" for i in range(texts)]
        try:
            await classifier.classify(MODEL, batch, began_s + 10, bulk=bulk, caller=name)
        except Overloaded:
            await asyncio.sleep(0.1)
        else:
            took.append(time.monotonic() - began_s)
    raise AssertionError


HOGS = {
    "bulk": [{"texts": 300, "chars": 20, "bulk": True}] * 4,
    "interactive batches": [{"texts": 300, "chars": 20, "bulk": False}] * 4,
    "interactive singles": [{"texts": 1, "chars": 20, "bulk": False}] * 100,
    "long texts": [{"texts": 20, "chars": 9_000, "bulk": False}] * 8,
    "both": [
        {"texts": 300, "chars": 200, "bulk": True},
        {"texts": 16, "chars": 200, "bulk": False},
    ]
    * 4,
}
VICTIMS: dict[str, Sequence[dict[str, object]]] = {
    "singles": [{"texts": 1, "chars": 20, "bulk": False}] * 400,
    "batches": [{"texts": 50, "chars": 20, "bulk": True}] * 6,
}


@pytest.mark.parametrize(
    ("hog", "victim"),
    [*((hog, "batches") for hog in HOGS), ("interactive batches", "singles")],
)
def test_a_victim_gets_its_half_beside_any_hog(hog: str, victim: str, in_no_time: InNoTime) -> None:
    async def body() -> None:
        engine = Engine()
        classifier = make(engine)
        until_s = time.monotonic() + SECONDS
        hogs = [
            asyncio.create_task(asks(classifier, "hog", until_s=until_s, **each))  # type: ignore[arg-type]
            for each in HOGS[hog]
        ]
        await asyncio.sleep(1)  # the hog has filled what it can
        victims = [
            asyncio.create_task(asks(classifier, "victim", until_s=until_s, **each))  # type: ignore[arg-type]
            for each in VICTIMS[victim]
        ]
        await asyncio.sleep(4)  # and what texts cost is learnt
        engine.done_s.clear()
        await asyncio.sleep(2)
        share = engine.done_s["victim"] / engine.done_s.total()
        for task in (*hogs, *victims):
            task.cancel()
        await asyncio.gather(*hogs, *victims, return_exceptions=True)
        assert share >= 0.4, share

    in_no_time(body)


def test_one_that_asks_for_little_is_answered_within_a_moment(in_no_time: InNoTime) -> None:
    async def body() -> None:
        engine = Engine()
        classifier = make(engine)
        until_s = time.monotonic() + SECONDS
        hogs = [
            asyncio.create_task(
                asks(classifier, "hog", texts=500, chars=20, bulk=False, until_s=until_s)
            )
            for _ in range(5)
        ]
        await asyncio.sleep(2)
        took = await asks(classifier, "victim", texts=1, chars=20, bulk=False, until_s=until_s)
        for task in hogs:
            task.cancel()
        await asyncio.gather(*hogs, return_exceptions=True)
        assert len(took) >= 2
        assert max(took) < 0.6  # the window, and what the engine has begun

    in_no_time(body)


def test_the_queue_is_shared_out_and_a_newcomer_always_has_room(in_no_time: InNoTime) -> None:
    async def body() -> None:
        engine = Engine()
        classifier = make(engine, queued=100)

        def asked(caller: str, count: int) -> asyncio.Task[list[Outcome]]:
            texts = [f"{caller} {i} {time.monotonic_ns()}" for i in range(count)]
            call = classifier.classify(
                MODEL, texts, time.monotonic() + 10, bulk=True, caller=caller
            )
            return asyncio.create_task(call)  # type: ignore[arg-type]

        async def refused(caller: str, count: int) -> bool:
            task = asked(caller, count)
            await asyncio.sleep(0)
            if task.done():
                assert isinstance(task.exception(), Overloaded)
                return True
            running.append(task)
            return False

        running: list[asyncio.Task[list[Outcome]]] = []
        async with engine.busy:
            assert not await refused("hog", 100)
            await asyncio.sleep(0.05)
            more = 0
            while not await refused("hog", 10):
                more += 1  # what is under way is not in the queue any more
            assert more < 20
            assert not await refused("second", 60)
            assert await refused("second", 60)
            assert not await refused("third", 60)
            assert await refused("hog", 1)
            assert await refused("fourth", 101)
        for task in running:
            assert all(isinstance(each, Outcome) for each in await task)

    in_no_time(body)
