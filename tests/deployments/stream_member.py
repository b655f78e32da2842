"""Run by a test: one member of a consumer group with a fake model, until it is killed.

``python stream_member.py ADDRESS``
"""

import asyncio
import sys

from front import Stages

from configs.schema.app import AppConfig
from deployments.canary.observer import CandidateObserver
from deployments.inference.classifier import Classifier
from deployments.inference.predictor import Predictor
from deployments.stream.client_patches import SaslLogin
from deployments.stream.consumer import Consumer
from deployments.stream.processor import Processor
from deployments.stream.producer import Producer
from deployments.telemetry.metrics import Metrics
from deployments.versions import CurrentRoutes


class Member:
    """Consumer, processor and producer as in the Stream deployment. Make it in an event loop."""

    def __init__(self, config: AppConfig, stages: Stages) -> None:
        self.metrics = Metrics()
        loop = asyncio.get_running_loop()
        classifier = Classifier(
            config, stages.classify, None, self.metrics, hops_in_flight=2, engines=2
        )
        routes = CurrentRoutes(stages.table)
        self.observer = CandidateObserver(config, stages.classify, self.metrics, routes)
        predictor = Predictor(
            classifier, routes, self.observer, config.limits, self.metrics, source="kafka"
        )
        self.login = SaslLogin(config.stream)
        self.writer = Producer(config.stream, self.login)
        self.states: list[str] = []
        self.reader = Consumer(
            config.stream,
            config.breaker,
            lambda batch: loop.call_soon_threadsafe(self.pump.take, batch),
            self.metrics.stream,
            self.states.append,
            login=self.login,
        )
        self.pump = Processor(
            config.stream,
            predictor,
            send=self.writer.send,
            acknowledge=self.reader.tracker.acknowledge,
            metrics=self.metrics.stream,
        )
        self.reader.start()

    def total(self, name: str) -> float:
        return self.metrics.totals()[name]

    async def stop(self) -> None:
        self.reader.stop_reading()
        await self.pump.drain(5)
        await asyncio.to_thread(self.reader.close)
        await asyncio.to_thread(self.writer.close)


def member_config(address: str, **more: object) -> AppConfig:
    stream = {
        "enabled": True,
        "bootstrap_servers": [address],
        "session_timeout_ms": 2_000,
        "heartbeat_interval_ms": 300,
        "fetch_wait_ms": 10,
        "linger_ms": 2,
        "delivery_timeout_ms": 2_000,
    }
    return AppConfig.model_validate(
        {"cache": {"l2": "none"}, "stream": stream | more, "breaker": {"recovery_ms": 200}}
    )


async def main() -> None:
    """Reads until it is killed."""
    # Commits are rare, so a kill leaves results that are not committed and come again.
    config = member_config(
        sys.argv[1], max_in_flight=64, max_poll_records=8, commit_interval_ms=2_000
    )
    Member(config, Stages(0.02))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
