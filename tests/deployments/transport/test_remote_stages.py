"""Two model and two tokenizer replicas behind real sockets, and callers that share them."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from configs.schema.app import AppConfig
from deployments.batching.cost_surface import CostSurface
from deployments.batching.planner import PlanFacts
from deployments.errors import InferenceFailed
from deployments.inference.classifier import Classifier
from deployments.payloads import EncodingBatch, Encodings, ModelAnswer, ScoreBatch, TextBatch
from deployments.predictions import Outcome
from deployments.telemetry.metrics import Metrics
from deployments.transport import links as links_module
from deployments.transport.endpoint import Address, Endpoint
from deployments.transport.operations import score, tokenize
from deployments.transport.remote_stages import RemoteStages
from deployments.versions import ServedVersion

MODEL = ServedVersion("m", 1, "ab" * 32, ("NEG", "POS"), "onnx", "int8", 128, "registry")
FACTS = PlanFacts(
    CostSurface(
        np.array([1, 128], dtype=np.float32),
        np.array([1, 512], dtype=np.float32),
        np.ones((2, 2), dtype=np.float32),
    ),
    max_texts=4,
    max_tokens=4_096,
)


class LostError(Exception):
    """Stands for a replica that died under a call of Ray."""


class Replica:
    """A model and a tokenizer; the score tells how many tokens a text has."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.batches: list[int] = []
        self.encoded: list[int] = []
        self.running = self.most_running = 0
        self.broken = False
        self._engine = asyncio.Lock()

    async def run(self, batch: EncodingBatch) -> ScoreBatch:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            async with self._engine:
                await asyncio.sleep(self.delay_s)
        finally:
            self.running -= 1
        if self.broken:
            raise RuntimeError("engine is gone")
        self.batches.append(len(batch.lengths))
        positive = (batch.lengths / 100).astype(np.float32)
        count = len(batch.lengths)
        none, cost_s = np.zeros(count, np.bool_), np.full(count, 1e-3, np.float32)
        scores = np.stack([1 - positive, positive], axis=1)
        return ScoreBatch(
            batch.digest, scores, none, none, *(cost_s,) * 3, np.zeros((0, 5), np.float32)
        )

    async def tokenize(self, batch: TextBatch) -> Encodings:
        await asyncio.sleep(self.delay_s)
        self.encoded.append(len(batch.texts))
        lengths = np.array([len(text) for text in batch.texts], dtype=np.int32)
        return Encodings(np.zeros(lengths.sum(), np.int32), lengths, lengths < 0)


class Graph:
    """The deployments, and Ray's way to them."""

    def __init__(self) -> None:
        self.models: dict[Replica, tuple[Endpoint, Address]] = {}
        self.tokenizers: dict[Replica, tuple[Endpoint, Address]] = {}
        self.by_handle = Replica()
        self.losses = 0

    async def add_model(self, replica: Replica) -> Replica:
        endpoint = Endpoint({"score": score(replica.run)})
        self.models[replica] = endpoint, await endpoint.open(f"{id(replica)}", "here", "127.0.0.1")
        return replica

    async def add_tokenizer(self, replica: Replica) -> Replica:
        endpoint = Endpoint({"tokenize": tokenize(replica.tokenize, lambda *_: None)})
        self.tokenizers[replica] = (
            endpoint,
            await endpoint.open(f"{id(replica)}", "here", "127.0.0.1"),
        )
        return replica

    def kill(self, replica: Replica) -> None:
        for replicas in (self.models, self.tokenizers):
            if replica in replicas:
                replicas.pop(replica)[0].close()

    def stop(self, replica: Replica) -> "asyncio.Task[None]":
        """As Serve does it: nobody finds it any more, and it ends when it is done."""
        for replicas in (self.models, self.tokenizers):
            if replica in replicas:
                return asyncio.create_task(replicas.pop(replica)[0].leave(60))
        raise AssertionError("no such replica")

    async def run(self, batch: EncodingBatch) -> ScoreBatch:
        if self.losses:
            self.losses -= 1
            raise LostError
        return await self.by_handle.run(batch)

    async def tokenize(self, batch: TextBatch) -> Encodings:
        return await self.by_handle.tokenize(batch)

    async def facts(self, digest: str) -> PlanFacts:
        return FACTS

    def is_lost(self, error: Exception) -> bool:
        return isinstance(error, LostError)

    @asynccontextmanager
    async def caller(self, node: str = "here", **batching: Any) -> AsyncIterator[Classifier]:
        async def models() -> list[Address]:
            return [address for _, address in self.models.values()]

        async def tokenizers() -> list[Address]:
            return [address for _, address in self.tokenizers.values()]

        async def never(batch: TextBatch) -> ModelAnswer:
            raise AssertionError("the tokenizer stage is not asked")

        config = AppConfig.model_validate({"cache": {"l2": "none"}, "batching": batching})
        metrics = Metrics()
        stages = RemoteStages(
            config,
            self,
            metrics,
            deployment="Ingress",
            node=node,
            models=models,
            tokenizers=tokenizers,
            calls=2,
        )
        await stages.start()
        self.stages = stages
        classifier = Classifier(
            config, never, None, metrics, hops_in_flight=1, engines=2, stages=stages
        )
        try:
            yield classifier
        finally:
            stages.close()

    def close(self) -> None:
        for replica in (*self.models, *self.tokenizers):
            self.kill(replica)


def in_graph(body: Callable[[Graph], Awaitable[None]]) -> None:
    async def run() -> None:
        graph = Graph()
        try:
            await body(graph)
        finally:
            graph.close()
            await asyncio.sleep(0.02)

    asyncio.run(asyncio.wait_for(run(), 90))


def soon(seconds: float = 60.0) -> float:
    return time.monotonic() + seconds


def texts_of(count: int, first: int = 0) -> list[str]:
    return [f"{i:05d}" + "x" * (i % 7) for i in range(first, first + count)]


def check(texts: Sequence[str], outcomes: Sequence[object]) -> None:
    for text, outcome in zip(texts, outcomes, strict=True):
        assert isinstance(outcome, Outcome), outcome
        assert round(float(outcome.prediction.scores[1]), 2) == len(text) / 100


def roads(classifier: Classifier) -> dict[tuple[str, str], float]:
    sent = classifier._metrics.stage_messages
    return {
        (stage, road): sent.labels(stage, road)._value.get()
        for stage in ("tokenize", "score")
        for road in ("socket", "handle")
    }


@pytest.mark.parametrize("node", ["here", "elsewhere"])
def test_texts_go_over_sockets_in_planned_batches_to_all_replicas(node: str) -> None:
    async def body(graph: Graph) -> None:
        models = [await graph.add_model(Replica(0.002)) for _ in range(2)]
        tokenizers = [await graph.add_tokenizer(Replica()) for _ in range(2)]
        async with graph.caller(node) as caller:
            texts = texts_of(200)
            check(texts, await caller.classify(MODEL, texts, soon()))
            assert all(replica.batches for replica in models)
            assert max(size for replica in models for size in replica.batches) == 4
            # One runs and one is there when that ends, never more.
            assert {replica.most_running for replica in models} == {2}
            assert all(replica.encoded for replica in tokenizers)
            sent = roads(caller)
            assert sent["score", "handle"] == sent["tokenize", "handle"] == 0
            assert sent["score", "socket"] >= 50

    in_graph(body)


def test_without_sockets_ray_carries_everything_and_a_replica_that_comes_takes_over() -> None:
    async def body(graph: Graph) -> None:
        graph.losses = 1
        async with graph.caller() as caller:
            texts = texts_of(100)
            check(texts, await caller.classify(MODEL, texts, soon()))
            sent = roads(caller)
            assert sent["score", "socket"] == sent["tokenize", "socket"] == 0
            # As few calls as there can be: each costs more than padding.
            assert sent["score", "handle"] <= 5
            model = await graph.add_model(Replica())
            tokenizer = await graph.add_tokenizer(Replica())
            for first in range(1_000, 100_000, 10):
                texts = texts_of(10, first)
                check(texts, await caller.classify(MODEL, texts, soon()))
                if model.batches and tokenizer.encoded:
                    break
                await asyncio.sleep(0.02)
            before = roads(caller)
            texts = texts_of(50, 500)
            check(texts, await caller.classify(MODEL, texts, soon()))
            assert roads(caller)["score", "handle"] == before["score", "handle"]
            # And back, when it goes.
            graph.kill(model)
            graph.kill(tokenizer)
            await asyncio.sleep(0.02)
            texts = texts_of(50, 600)
            check(texts, await caller.classify(MODEL, texts, soon()))
            assert roads(caller)["score", "handle"] > before["score", "handle"]

    in_graph(body)


def test_replicas_that_die_under_load_lose_nothing() -> None:
    async def body(graph: Graph) -> None:
        models = [await graph.add_model(Replica(0.005)) for _ in range(2)]
        tokenizers = [await graph.add_tokenizer(Replica(0.002)) for _ in range(2)]
        async with graph.caller() as caller:
            texts = texts_of(300)
            asked = asyncio.create_task(caller.classify(MODEL, texts, soon()))
            await asyncio.sleep(0.03)
            graph.kill(models[0])
            graph.kill(tokenizers[0])
            await asyncio.sleep(0.03)
            graph.kill(models[1])
            graph.kill(tokenizers[1])
            check(texts, await asked)
            assert caller._metrics.retries._value.get() >= 1
            # Each is counted once, wherever it was computed.
            assert caller._metrics.inference_seconds._sum.get() == pytest.approx(0.3, abs=0.01)

    in_graph(body)


def test_a_stage_that_is_given_up_answers_until_its_last_caller_has_gone() -> None:
    async def body(graph: Graph) -> None:
        replicas = [await graph.add_model(Replica()), await graph.add_tokenizer(Replica())]
        async with graph.caller() as caller:
            check(texts_of(10), await caller.classify(MODEL, texts_of(10), soon()))
            leaving = [graph.stop(replica) for replica in replicas]
            for first in range(10, 60, 10):
                texts = texts_of(10, first)
                check(texts, await caller.classify(MODEL, texts, soon()))
                await asyncio.sleep(0.05)
            assert not any(task.done() for task in leaving)
            assert roads(caller)["score", "handle"] == roads(caller)["tokenize", "handle"] == 0
        await asyncio.wait_for(asyncio.gather(*leaving), 10)

    in_graph(body)


def test_a_replica_that_is_replaced_is_left_for_its_successor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links_module, "_LOOK_S", 0.02)

    async def body(graph: Graph) -> None:
        first = [await graph.add_model(Replica()), await graph.add_tokenizer(Replica())]
        async with graph.caller() as caller:
            check(texts_of(10), await caller.classify(MODEL, texts_of(10), soon()))
            second = [await graph.add_model(Replica()), await graph.add_tokenizer(Replica())]
            leaving = [graph.stop(replica) for replica in first]
            await asyncio.wait_for(asyncio.gather(*leaving), 10)
            check(texts_of(10, 10), await caller.classify(MODEL, texts_of(10, 10), soon()))
            assert second[0].batches
            assert second[1].encoded
            assert roads(caller)["score", "handle"] == roads(caller)["tokenize", "handle"] == 0

    in_graph(body)


def test_a_stage_whose_callers_stay_ends_after_its_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("ray.serve"), "propagate", True)

    async def body(graph: Graph) -> None:
        replica = await graph.add_model(Replica())
        async with graph.caller():
            endpoint, _ = graph.models.pop(replica)
            await asyncio.wait_for(endpoint.leave(0.05), 10)
        assert "callers of it know no other one" in caplog.text

    in_graph(body)


class Closing:
    """A transport that has met an error and has not yet called ``connection_lost``."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def is_closing(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def test_a_connection_that_is_closing_uses_up_no_try() -> None:
    async def body(graph: Graph) -> None:
        for _ in range(2):
            await graph.add_model(Replica())
        await graph.add_tokenizer(Replica())
        async with graph.caller() as caller:
            connections = [link.connection for link in graph.stages._models.all]
            assert len(connections) == 2
            for connection in connections:
                connection.transport = Closing(connection.transport)  # type: ignore[assignment]
            texts = texts_of(40)
            asked = asyncio.create_task(caller.classify(MODEL, texts, soon()))
            await asyncio.sleep(0.05)
            assert not asked.done()
            for connection in connections:
                connection.close()
            check(texts, await asked)

    in_graph(body)


def test_texts_that_ended_while_they_waited_are_not_shown_as_waiting_for_ever() -> None:
    async def body(graph: Graph) -> None:
        await graph.add_model(Replica())
        await graph.add_tokenizer(Replica(0.5))
        async with graph.caller() as caller:
            asked = []
            for first in range(8):
                answer = caller.classify(MODEL, texts_of(1, first), soon(0.2))
                asked.append(asyncio.create_task(answer))
                await asyncio.sleep(0.01)
            for [outcome] in await asyncio.gather(*asked):
                assert isinstance(outcome, Exception)
            waiting, ends_s = caller._metrics.queued_texts.collect, soon(10)
            while waiting()[0].samples[0].value:
                assert time.monotonic() < ends_s
                await asyncio.sleep(0.02)

    in_graph(body)


def test_a_replica_that_hangs_delays_its_batches_and_no_others() -> None:
    async def body(graph: Graph) -> None:
        hanging = await graph.add_model(Replica(60))
        await graph.add_model(Replica(0.001))
        await graph.add_tokenizer(Replica())
        async with graph.caller() as caller:
            began_s = time.monotonic()
            texts = texts_of(60)
            check(texts, await caller.classify(MODEL, texts, soon(2.5)))
            assert time.monotonic() - began_s < 2
            assert hanging.most_running == 2
            assert hanging.batches == []

    in_graph(body)


def test_a_tokenizer_that_hangs_is_passed_over() -> None:
    async def body(graph: Graph) -> None:
        await graph.add_model(Replica())
        await graph.add_tokenizer(Replica(60))
        fine = await graph.add_tokenizer(Replica())
        async with graph.caller() as caller:
            texts = texts_of(20)
            check(texts, await caller.classify(MODEL, texts, soon(2.5)))
            assert fine.encoded

    in_graph(body)


def test_two_callers_share_the_engines_evenly() -> None:
    async def body(graph: Graph) -> None:
        models = [await graph.add_model(Replica(0.004)) for _ in range(2)]
        await graph.add_tokenizer(Replica())
        async with graph.caller() as one, graph.caller() as other:
            many = asyncio.create_task(one.classify(MODEL, texts_of(240), soon(60)))
            while not all(model.batches for model in models):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            before = [len(model.batches) for model in models]
            # Whoever came first with many keeps nobody else waiting.
            some = texts_of(60, 5_000)
            check(some, await other.classify(MODEL, some, soon(60)))
            ran = sum(len(model.batches) for model in models) - sum(before)
            # 15 batches of these, as many of the others, and what was under way at both ends.
            assert 15 <= ran <= 40
            check(texts_of(240), await many)

    in_graph(body)


def test_an_engine_that_fails_fails_its_texts_once_for_all() -> None:
    async def body(graph: Graph) -> None:
        model = await graph.add_model(Replica())
        await graph.add_tokenizer(Replica())
        model.broken = True
        async with graph.caller() as caller:
            outcomes = await caller.classify(MODEL, texts_of(3), soon())
            assert all(isinstance(outcome, InferenceFailed) for outcome in outcomes)
            assert model.most_running == 1
            model.broken = False
            texts = texts_of(3)
            check(texts, await caller.classify(MODEL, texts, soon()))

    in_graph(body)
