"""Texts from Kafka through the graph, beside the ingress.

    requests topic ─▶ Consumer ─▶ Processor ─▶ Predictor ─▶ Cache, Tokenizer ─▶ Model
                                      └──────▶ Producer ─▶ responses topic, dead letters

The same predictor as behind HTTP, with bulk priority, in a deployment of its own: a broker
that is away, a poison message or a backlog never touches the ingress. The other modules of the
package are tested without Ray.
"""

import asyncio
import logging
from collections.abc import Coroutine

from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from configs.schema.app import AppConfig
from deployments.autoscaling import BUSY, LAG, PARTITIONS, RATE
from deployments.clients.vault import watch_secrets
from deployments.inference.second_try import SecondTry
from deployments.payloads import StreamStatus
from deployments.serve_options import AsyncReplica, EngineShare, by_lag, deployment, engine_share
from deployments.stream.client_patches import SaslLogin
from deployments.stream.consumer import Consumer
from deployments.stream.feedback_outbox import FeedbackOutbox
from deployments.stream.processor import Processor
from deployments.stream.producer import Producer
from deployments.telemetry.background import keep_running
from deployments.telemetry.log_context import add_log_fields
from deployments.telemetry.metrics import Metrics
from deployments.text_replica import TextReplica
from deployments.transport.handles import (
    RemoteCache,
    RemoteInsight,
    is_lost,
    ray_gauge,
    remote_tokenizer,
    start_counting,
)
from deployments.transport.remote_stages import RemoteStages
from deployments.transport.stage_handles import open_stages

_log = logging.getLogger("ray.serve.sentigraph")
# Time that Serve gives a replica to stop, beyond ``stream.drain_ms``.
STOP_S = 10.0


class Stream(AsyncReplica, TextReplica):
    """The Stream deployment: one member of the consumer group in each replica."""

    _stopped = True  # there is nothing to stop before it was made
    _stages: RemoteStages | None = None

    async def setup(
        self,
        config: AppConfig,
        share: EngineShare,
        *,
        registry: DeploymentHandle,
        tokenizer: DeploymentHandle | None,
        cache: DeploymentHandle | None,
        insight: DeploymentHandle | None = None,
    ) -> None:
        """Joins the consumer group; without ``tokenizer`` the ingress replicas tokenize."""
        _log.setLevel(config.server.log_level)
        # It warns of every attempt to reach a broker; the breaker's state says it once.
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        stream = config.stream
        self._drain_s = stream.drain_ms / 1_000
        self._max_in_flight = stream.max_in_flight
        add_log_fields(config.server.service_name, "Stream")
        metrics = Metrics()
        if tokenizer is not None:
            self._stages = await open_stages(
                config, "Stream", tokenizer, metrics, share.hops_in_flight
            )
        self.open(
            config,
            "Stream",
            run_texts=SecondTry(remote_tokenizer(tokenizer), metrics.retries.inc).run,
            table=await registry.routes.remote(),
            share=share,
            metrics=metrics,
            shared=RemoteCache(cache) if cache is not None else None,
            traffic=start_counting(config, metrics, insight, "kafka"),
            stages=self._stages,
            is_lost=is_lost,
        )
        login = SaslLogin(stream)
        self._producer = Producer(stream, login)
        loop = asyncio.get_running_loop()
        self._consumer = Consumer(
            stream,
            config.breaker,
            lambda batch: loop.call_soon_threadsafe(self._processor.take, batch),
            self._metrics.stream,
            self._metrics.breaker("kafka"),
            login=login,
        )
        self._processor = Processor(
            stream,
            self._predictor,
            send=self._producer.send,
            acknowledge=self._consumer.tracker.acknowledge,
            metrics=self._metrics.stream,
            tracer=self._tracer,
        )
        using = {"stream.password": login.replace}
        self._secrets = await watch_secrets(config.vault, using, self._metrics)
        self._feedback: asyncio.Task[None] | None = None
        if insight is not None and config.feedback.enabled:
            outbox = FeedbackOutbox(
                stream.feedback_topic, self._producer.send, RemoteInsight(insight)
            )
            self._feedback = keep_running(outbox.run, "sending feedback")
        self._consumer.start()
        self._stopped = False
        mirror = self._metrics.mirror(ray_gauge)
        self._mirroring = keep_running(mirror.run, "copying metrics to Ray")

    async def status(self) -> StreamStatus:
        """How this replica is doing."""
        totals = self._metrics.totals()
        return StreamStatus(
            connected=self._consumer.connected,
            lag=self._consumer.lag,
            rate=self._consumer.rate,
            in_flight=self._consumer.tracker.in_flight,
            batches=self._processor.batches,
            counts={
                "consumed": int(totals["kafka_messages_consumed_total"]),
                "processed": int(totals["kafka_messages_processed_total"]),
                "failed": int(totals["kafka_messages_failed_total"]),
                "retried": int(totals["kafka_messages_retried_total"]),
                "dead_letters": int(totals["kafka_dlq_messages_total"]),
            },
            processing_s=totals["kafka_message_processing_duration_seconds_sum"],
        )

    async def check_health(self) -> None:
        """Serve asks every few seconds; a replica that cannot go on by itself is replaced.

        Raises:
            RuntimeError: It will not finish what it has read. A broker that is away is no reason.
        """
        if self._processor.broken or not (self._consumer.alive and self._producer.alive):
            raise RuntimeError("messages were read that this replica will not finish")

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What ``LagPolicy`` decides by."""
        lag = self._consumer.lag
        return {
            LAG: float(sum(lag.values())),
            RATE: self._consumer.rate,
            PARTITIONS: float(len(lag)),
            BUSY: min(1.0, self._consumer.tracker.in_flight / self._max_in_flight),
        }

    def __del__(self) -> Coroutine[None, None, None] | None:
        """Serve awaits what this returns when it stops the replica; Python gets nothing."""
        if self._stopped:
            return None
        self._stopped = True
        return self.stop()

    async def stop(self) -> None:
        """Finishes and commits what was read, and leaves the group."""
        self._mirroring.cancel()
        if self._feedback is not None:
            self._feedback.cancel()
        if self._secrets is not None:
            self._secrets.stop()
        self._consumer.stop_reading()
        drained = await self._processor.drain(self._drain_s)
        # Both wait for their threads, and the threads may wait for this loop.
        await asyncio.to_thread(self._consumer.close)
        await asyncio.to_thread(self._producer.close)
        if self._stages is not None:
            self._stages.close()
        await self.close_in_thread()
        if not drained:
            _log.warning("stopped with messages under way; others read them again")


def bind(
    config: AppConfig,
    *,
    registry: Application,
    tokenizer: Application | None,
    cache: Application | None,
    insight: Application | None,
) -> Application:
    """The deployment; Serve gives a replica time to drain before it stops."""
    size, scaling = config.replicas.stream, config.autoscaling
    stop_s = config.stream.drain_ms / 1_000 + STOP_S
    stream = deployment(Stream, size, scaling=scaling, policy=by_lag(scaling), stop_s=stop_s)
    share = engine_share(config, size)
    return stream.bind(
        config, share, registry=registry, tokenizer=tokenizer, cache=cache, insight=insight
    )
