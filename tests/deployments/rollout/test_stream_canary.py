"""A canary on Kafka's messages is judged by what the stream answered. A real broker, no Ray."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from front import LIVE, LocalHandle, Stages, no_stages

from benchmarks.harness.kafka import broker, produce
from benchmarks.harness.stream_messages import messages
from configs.schema.app import AppConfig
from deployments.payloads import Counts, FeedbackResult, ModelAnswer, TextBatch
from deployments.rollout.release_driver import ReleaseDriver
from deployments.serve_options import EngineShare
from deployments.stream.deployment import Stream
from deployments.versions import RoutingTable, TrafficSlot
from registry.bundles.bundle import write_bundle
from registry.model_registry import ModelRegistry
from registry.policy import Policy, ReleasePolicy
from registry.records import EngineHints

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.usefixtures("sockets_of_kafka_python"),
]
NAME = "m"
CANDIDATE = replace(LIVE, version=2, digest="cd" * 32)


class Canary(Stages):
    """Half of the messages are the candidate's, which may fail on all of them."""

    def __init__(self, *, fails: bool) -> None:
        super().__init__()
        self.fails = fails
        self.table = RoutingTable(
            1, replace(LIVE, version=1), challenger=TrafficSlot(CANDIDATE, 0.5)
        )

    async def classify(self, batch: TextBatch) -> ModelAnswer:
        if self.fails and batch.digest == CANDIDATE.digest:
            raise ValueError("the candidate's model is broken")
        return await super().classify(batch)


class OneStream:
    """``Observers`` of an application whose only traffic comes from Kafka."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def observed(self, digest: str) -> list[Counts]:
        return [await self._stream.observed(digest)]

    async def judge(self, prediction_id: str, label: str) -> list[FeedbackResult | None]:
        return [await self._stream.judge(prediction_id, label)]


def registry_in_canary(folder: Path) -> ModelRegistry:
    """Version 1 is champion, version 2 has half of the traffic."""
    made = ModelRegistry(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")
    for number in (1, 2):
        for file in ("model.onnx", "tokenizer.json"):
            (folder / file).write_text(f'"{number}"')
        bundle = write_bundle(
            folder / f"bundle-{number}",
            name=NAME,
            labels=("NEG", "POS"),
            files={n: folder / n for n in ("model.onnx", "tokenizer.json")},
            max_tokens=16,
            engine=EngineHints("onnx", "int8", ("input_ids",), 0),
        )
        made.store.register(NAME, bundle.directory, actor="ana")
    made.point(NAME, "champion", 1, actor="ana", reason="first")
    release = ReleasePolicy(shadow_weight=0, canary_weights=(0.5,), min_step_s=0, max_slower=0.9)
    made.catalog.update_model(NAME, actor="ana", policy=Policy(release=release))
    made.releases.start(NAME, 2, actor="ana")
    return made


@pytest.mark.parametrize("fails", [True, False])
def test_the_driver_decides_by_what_the_stream_answered(
    tmp_path: Path, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.stream.deployment.open_stages", no_stages)
    registry, stages = registry_in_canary(tmp_path), Canary(fails=fails)

    async def body(address: str) -> None:
        given = {"enabled": True, "bootstrap_servers": [address], "drain_ms": 100}
        config = AppConfig.model_validate({"cache": {"l2": "none"}, "stream": given})
        stream: Any = Stream.__new__(Stream)
        handle: Any = LocalHandle(stages)
        await stream.__init__(
            config, EngineShare(2, 2.0), tokenizer=handle, registry=handle, cache=None
        )
        texts = [f"text {number}" for number in range(400)]
        await asyncio.to_thread(produce, address, list(messages(texts, len(texts), 0)))
        driver = ReleaseDriver(NAME, "champion", registry, OneStream(stream))
        pairs = 0
        while pairs < 100 and registry.ledger.events(NAME)[-1].action == "release_start":
            await driver.tick(stages.table)
            pairs = driver._progress.tests["errors"].total if driver._progress.tests else 0
            await asyncio.sleep(0.1)
        last = registry.ledger.events(NAME)[-1]
        assert last.action == ("release_rollback" if fails else "release_start")
        if fails:
            assert "errors" in last.reason
        stopping = stream.__del__()
        assert stopping is not None
        await stopping

    with broker(tmp_path, partitions=2) as server:
        asyncio.run(asyncio.wait_for(body(server.address), 120))
