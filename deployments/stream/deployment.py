"""Texts from Kafka through the graph: the second door beside the ingress.

    requests topic ─▶ Reader ─▶ Pump ─▶ Classifier ─▶ Cache, Tokenizer ─▶ Model
                                  └───▶ Writer ─▶ responses topic, dead letters

The same classifier as behind HTTP, with bulk priority, in a deployment of its own: a broker
that is away, a poison message or a backlog never touches the ingress. ``streams/`` holds all
that can be tested without Ray.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine

from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from configs.schema.app import AppConfig
from deployments.autoscaling import BUSY, LAG, PARTITIONS, RATE
from deployments.clients.vault import watch_secrets
from deployments.handles import RemoteCache, is_lost, ray_gauge, remote_tokenizer
from deployments.inference.classifier import Classifier
from deployments.payloads import StreamStatus
from deployments.prediction_log import open_log
from deployments.prediction_log.rows import LoggedAnswer
from deployments.predictions import Outcome
from deployments.serve_options import AsyncReplica, EngineShare, by_lag, deployment, engine_share
from deployments.stream.client_patches import SaslLogin
from deployments.stream.consumer import Consumer
from deployments.stream.messages import StreamRequest, prediction_id, scores_of
from deployments.stream.processor import Processor
from deployments.stream.producer import Producer
from deployments.telemetry.log_context import add_log_fields
from deployments.telemetry.metrics import Metrics
from deployments.telemetry.tracer import open_tracer
from deployments.versions import RoutingTable, ServedVersion, routing_key

_log = logging.getLogger("ray.serve.sentigraph")
# Time that Serve gives a replica to stop, beyond ``stream.drain_ms``.
STOP_S = 10.0


class Stream(AsyncReplica):
    """The Stream deployment: one member of the consumer group in each replica."""

    _stopped = True  # there is nothing to stop before it was made

    async def setup(
        self,
        config: AppConfig,
        share: EngineShare,
        *,
        registry: DeploymentHandle,
        tokenizer: DeploymentHandle | None,
        cache: DeploymentHandle | None,
    ) -> None:
        """Joins the consumer group; without ``tokenizer`` the ingress replicas tokenize."""
        _log.setLevel(config.server.log_level)
        # It warns of every attempt to reach a broker; the breaker's state says it once.
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        stream = config.stream
        self._drain_s = stream.drain_ms / 1_000
        self._max_in_flight = stream.max_in_flight
        add_log_fields(config.server.service_name, "Stream")
        self._metrics = Metrics()
        self._tracer = open_tracer(config, "Stream", self._metrics)
        self._routes: RoutingTable = await registry.routes.remote()
        classifier = Classifier(
            config,
            remote_tokenizer(tokenizer),
            RemoteCache(cache) if cache is not None else None,
            self._metrics,
            hops_in_flight=share.hops_in_flight,
            engines=share.engines,
            is_lost=is_lost,
        )
        login = SaslLogin(stream)
        self._writer = Producer(stream, login)
        loop = asyncio.get_running_loop()
        self._reader = Consumer(
            stream,
            config.breaker,
            lambda batch: loop.call_soon_threadsafe(self._pump.take, batch),
            self._metrics.stream,
            self._metrics.breaker("kafka"),
            login=login,
        )
        self._pump = Processor(
            stream,
            config.limits,
            classify=classifier.classify,
            choose=self._choose,
            send=self._writer.send,
            acknowledge=self._reader.holdings.acknowledge,
            answered=self._answered,
            metrics=self._metrics.stream,
            tracer=self._tracer,
        )
        self._log = open_log(config, self._metrics)
        using = {"stream.password": login.replace}
        self._secrets = await watch_secrets(config.vault, using, self._metrics)
        self._reader.start()
        self._stopped = False
        self._mirroring = asyncio.create_task(self._metrics.mirror(ray_gauge).run())

    async def route(self, routes: RoutingTable) -> int:
        """Takes a newer routing table; the epoch that now stands."""
        if routes.epoch >= self._routes.epoch:
            self._routes = routes
        return self._routes.epoch

    async def status(self) -> StreamStatus:
        """How this replica is doing."""
        totals = self._metrics.totals()
        return StreamStatus(
            connected=self._reader.connected,
            lag=self._reader.lag,
            rate=self._reader.rate,
            in_flight=self._reader.holdings.in_flight,
            batches=self._pump.batches,
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
        if self._pump.broken or not (self._reader.alive and self._writer.alive):
            raise RuntimeError("messages were read that this replica will not finish")

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What ``LagPolicy`` decides by."""
        lag = self._reader.lag
        return {
            LAG: float(sum(lag.values())),
            RATE: self._reader.rate,
            PARTITIONS: float(len(lag)),
            BUSY: min(1.0, self._reader.holdings.in_flight / self._max_in_flight),
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
        if self._secrets is not None:
            self._secrets.stop()
        self._reader.stop_reading()
        drained = await self._pump.drain(self._drain_s)
        # Both wait for their threads, and the threads may wait for this loop.
        await asyncio.to_thread(self._reader.close)
        await asyncio.to_thread(self._writer.close)
        if self._log is not None:
            await asyncio.to_thread(self._log.close)
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close)
        if not drained:
            _log.warning("stopped with messages under way; others read them again")

    def _choose(self, message_id: str) -> ServedVersion:
        if self._routes.challenger is None:
            return self._routes.champion
        return self._routes.choose(routing_key(message_id, ()))

    def _answered(self, request: StreamRequest, model: ServedVersion, outcome: Outcome) -> None:
        label, scores = scores_of(model, outcome.prediction)
        self._metrics.predictions.labels(label, str(outcome.cached).lower()).inc()
        self._metrics.score.observe(scores[label])
        self._metrics.text_chars.observe(len(request.text))
        if self._log is not None:
            self._log.add(
                LoggedAnswer(
                    time.time_ns(),
                    prediction_id(request, model),
                    "kafka",
                    request.text,
                    model,
                    outcome,
                    label,
                    scores,
                )
            )


def bind(
    config: AppConfig,
    *,
    registry: Application,
    tokenizer: Application | None,
    cache: Application | None,
) -> Application:
    """The deployment; Serve gives a replica time to drain before it stops."""
    size, scaling = config.replicas.stream, config.autoscaling
    stop_s = config.stream.drain_ms / 1_000 + STOP_S
    stream = deployment(Stream, size, scaling=scaling, policy=by_lag(scaling), stop_s=stop_s)
    share = engine_share(config, size)
    return stream.bind(config, share, registry=registry, tokenizer=tokenizer, cache=cache)
