"""The Jobs replica: its database, the runner, the routes, the upkeep. Knows no Ray.

relay ─▶ api → desk ─▶ store ┐
                             ├─ database
upkeep, runner ─▶ leases ────┘
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence

import orjson
from sqlalchemy.exc import SQLAlchemyError

from configs.schema.app import AppConfig
from deployments.asgi.exchange import Exchange
from deployments.asgi.proxy import Call, Part, ProxyServer
from deployments.errors import NotReady
from deployments.inference.classifier import Classifier
from deployments.inference.predictor import Predictor
from deployments.jobs.database_login import DatabaseLogin
from deployments.jobs.job_queue import JobQueue
from deployments.jobs.leases import Leases
from deployments.jobs.records import PRIORITIES, Job
from deployments.jobs.routes import build_jobs_app
from deployments.jobs.store import JobStore
from deployments.jobs.tables import open_database
from deployments.jobs.webhook import Webhook, WebhookFailed, pause_s
from deployments.jobs.worker import Answers, Worker
from deployments.prediction_log import open_log
from deployments.telemetry.metrics import Metrics
from deployments.versions import RoutingTable, ServedVersion

_log = logging.getLogger("ray.serve")
# A file that takes longer than this to be received belongs to a process that died.
_RECEIVING_S = 1_800.0
_TICK_S = 1.0
_WEBHOOKS_AT_ONCE = 8


class JobsReplica:
    """Everything of batch jobs in one process. ``start`` it on the event loop."""

    def __init__(
        self,
        config: AppConfig,
        classifier: Classifier,
        metrics: Metrics,
        routes: RoutingTable,
        login: DatabaseLogin | None = None,
    ) -> None:
        self._config = config.jobs
        self._metrics = metrics
        self._routes = routes
        self._log = open_log(config, metrics)
        self._predict = Predictor(
            classifier,
            _no_exchange,
            _unasked,
            config.limits,
            metrics,
            log=self._log,
            source="job",
        )
        engine = open_database(config.jobs.database.get_secret_value(), login)
        self._store = JobStore(engine)
        self._webhook = Webhook(config.jobs.webhook)
        self._runner = Worker(Leases(engine), self._classify, config.jobs, metrics)
        desk = JobQueue(config, self._store, self._runner, self._webhook)
        app = build_jobs_app(lambda: desk, owned=config.access.required)
        self._relay = ProxyServer(app)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to work."""
        self._tasks = [asyncio.create_task(self._runner.run()), asyncio.create_task(self._upkeep())]

    async def stop(self) -> None:
        """Ends all work; leases that are held run out."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._log is not None:
            await asyncio.to_thread(self._log.close)

    async def route(self, routes: RoutingTable) -> int:
        """Takes a newer routing table; the epoch that now stands."""
        if routes.epoch >= self._routes.epoch:
            self._routes = routes
        return self._routes.epoch

    async def call(self, call: Call) -> AsyncIterator[Part]:
        """Answers a request that an ingress relays, see ``relay.py``."""
        async for part in self._relay.call(call):
            yield part

    async def push(self, call_id: str, part: bytes, more: bool) -> bool:
        """Takes the next part of a relayed request's body."""
        return await self._relay.push(call_id, part, more)

    async def check(self) -> None:
        """Raises when the replica does not work any more.

        Raises:
            NotReady: A loop ended.
        """
        if any(task.done() for task in self._tasks):
            raise NotReady("a loop of the Jobs replica ended")

    async def _classify(self, texts: Sequence[str], deadline_s: float) -> tuple[int, Answers]:
        live = self._routes.champion
        return live.version, await self._predict.each(live, texts, deadline_s)

    async def _upkeep(self) -> None:
        """Metrics and messages every second, deletion now and then; goes on when one fails."""
        cleaned_s = float("-inf")
        while True:
            try:
                await self._show_queue()
                await self._send_webhooks()
                if time.monotonic() - cleaned_s >= self._config.cleanup_interval_s:
                    cleaned_s = time.monotonic()
                    await self._clean()
            except SQLAlchemyError as error:
                _log.warning("the jobs' database does not answer: %s", type(error).__name__)
            await asyncio.sleep(min(_TICK_S, self._config.cleanup_interval_s))

    async def _show_queue(self) -> None:
        loads = await asyncio.to_thread(self._store.loads)
        for priority in PRIORITIES:
            texts = sum(load.texts for load in loads if load.priority == priority)
            self._metrics.jobs.queued_texts.labels(priority).set(texts)

    async def _clean(self) -> None:
        now_s = time.time()
        await asyncio.to_thread(
            self._store.clean,
            ended_before_s=now_s - self._config.result_ttl_s,
            received_before_s=now_s - _RECEIVING_S,
            keep=self._config.max_ended,
        )

    async def _send_webhooks(self) -> None:
        due = await asyncio.to_thread(self._store.due_webhooks, time.time(), _WEBHOOKS_AT_ONCE)
        await asyncio.gather(*(self._send_webhook(job) for job in due))

    async def _send_webhook(self, job: Job) -> None:
        attempts = job.webhook_attempts + 1
        try:
            await asyncio.to_thread(self._webhook.send, job.webhook_url, _message(job), time.time())
        except WebhookFailed as error:
            last = attempts >= self._config.webhook.max_attempts
            self._metrics.jobs.webhooks.labels("given_up" if last else "failed").inc()
            _log.warning("webhook of job %s, attempt %s: %s", job.id, attempts, error)
            again_s = None if last else time.time() + pause_s(attempts)
        else:
            self._metrics.jobs.webhooks.labels("delivered").inc()
            again_s = None
        await asyncio.to_thread(self._store.sent_webhook, job.id, again_s)


def _message(job: Job) -> bytes:
    return orjson.dumps(
        {
            "job_id": job.id,
            "status": job.state,
            "total_texts": job.total_texts,
            "processed_texts": job.done_texts,
            "failed_texts": job.failed_texts,
            "created_at": job.created_s,
            "completed_at": job.ended_s,
        }
    )


def _no_exchange(exchange: Exchange, texts: Sequence[str]) -> ServedVersion:
    raise AssertionError("jobs name the version themselves")


def _unasked(*_: object) -> None:
    """No shadow version is asked about jobs."""
