"""The Jobs replica: its database, the worker, the routes, the upkeep. Knows no Ray.

ProxyServer ─▶ routes ─▶ JobQueue ─▶ JobStore ┐
                                              ├─ database
upkeep, Worker ─▶ Leases ─────────────────────┘
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence

from sqlalchemy.exc import SQLAlchemyError

from configs.schema.app import AppConfig
from deployments.asgi.proxy import Call, Part, ProxyServer
from deployments.clients.database import DatabaseLogin, open_database
from deployments.errors import NotReady
from deployments.jobs.database_faults import fault
from deployments.jobs.job_queue import JobQueue
from deployments.jobs.leases import Leases
from deployments.jobs.records import PRIORITIES
from deployments.jobs.routes import build_jobs_app
from deployments.jobs.store import JobStore
from deployments.jobs.tables import metadata
from deployments.jobs.webhook import Webhook
from deployments.jobs.webhook_delivery import WebhookDelivery
from deployments.jobs.worker import Answers, Worker
from deployments.predictions import Answer
from deployments.text_replica import TextReplica

_log = logging.getLogger("ray.serve")
# A file that takes longer than this to be received belongs to a process that died.
_RECEIVING_S = 1_800.0
_TICK_S = 1.0


class JobsReplica(TextReplica):
    """Everything of batch jobs in one process. ``start`` it on the event loop."""

    def open_jobs(self, config: AppConfig, *, login: DatabaseLogin | None = None) -> None:
        """Opens the database, after ``open``; starts nothing yet.

        Args:
            config: Sizes and limits.
            login: The database's user and password, if Vault has them.
        """
        self._config = config.jobs
        metrics = self._metrics
        engine = open_database(config.jobs.database.get_secret_value(), metadata, login)
        self._store = JobStore(engine)
        webhook = Webhook(config.jobs.webhook)
        self._webhooks = WebhookDelivery(config.jobs.webhook, self._store, webhook, metrics)
        self._worker = Worker(Leases(engine), self._classify, config.jobs, metrics)
        queue = JobQueue(config, self._store, self._worker, webhook)
        app = build_jobs_app(lambda: queue, owned=config.access.required)
        self._proxy = ProxyServer(app)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to work."""
        loops = (self._worker.run(), self._webhooks.run(), self._upkeep())
        self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def stop(self) -> None:
        """Ends all work; leases that are held run out."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.close_in_thread()

    async def call(self, call: Call) -> AsyncIterator[Part]:
        """Answers a request that an ingress forwards, see ``asgi/proxy.py``."""
        async for part in self._proxy.call(call):
            yield part

    async def push(self, call_id: str, part: bytes, more: bool) -> bool:
        """Takes the next part of a forwarded request's body."""
        return await self._proxy.push(call_id, part, more)

    async def check(self) -> None:
        """Checks that the replica still works.

        Raises:
            NotReady: A loop ended.
        """
        if any(task.done() for task in self._tasks):
            raise NotReady("a loop of the Jobs replica ended")

    async def _classify(
        self, key: str, texts: Sequence[str], deadline_s: float
    ) -> tuple[int, Answers]:
        found = await self._predictor.predict(texts, deadline_s=deadline_s, bulk=True, key=key)
        answers = [
            answer.body() if isinstance(answer, Answer) else answer for answer in found.answers
        ]
        return found.model.version, answers

    async def _upkeep(self) -> None:
        """Sets metrics every second, deletes old jobs now and then.

        A database that does not answer is tried again.
        """
        cleaned_s = float("-inf")
        while True:
            try:
                await self._show_queue()
                if time.monotonic() - cleaned_s >= self._config.cleanup_interval_s:
                    cleaned_s = time.monotonic()
                    await self._clean()
            except SQLAlchemyError as error:
                _log.warning("the jobs' database does not answer: %s", fault(error))
            await asyncio.sleep(min(_TICK_S, self._config.cleanup_interval_s))

    async def _show_queue(self) -> None:
        backlog = await asyncio.to_thread(self._store.backlog)
        for priority in PRIORITIES:
            texts = sum(job.texts for job in backlog if job.priority == priority)
            self._metrics.jobs.queued_texts.labels(priority).set(texts)

    async def _clean(self) -> None:
        now_s = time.time()
        await asyncio.to_thread(
            self._store.clean,
            ended_before_s=now_s - self._config.result_ttl_s,
            received_before_s=now_s - _RECEIVING_S,
            keep=self._config.max_ended,
        )
