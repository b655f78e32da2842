"""Sends the messages of ended jobs, at least once each, again after pauses where they failed.

A host that is slow holds up its own messages alone: each is sent by a task of its own, and few
to one host at once.
"""

import asyncio
import logging
import time
from collections import Counter
from urllib.parse import urlsplit

import orjson
from sqlalchemy.exc import SQLAlchemyError

from configs.schema.jobs import WebhookConfig
from deployments.clients.backoff import Backoff
from deployments.jobs.database_faults import fault
from deployments.jobs.records import Job, utc
from deployments.jobs.store import JobStore
from deployments.jobs.webhook import Webhook, WebhookFailed
from deployments.telemetry.metrics import Metrics

_log = logging.getLogger("ray.serve")
_LOOK_EVERY_S = 1.0
_DUE_AT_MOST = 1_000
_AT_ONCE, _AT_ONCE_TO_A_HOST = 32, 2


class WebhookDelivery:
    """The messages of one process. ``run`` until cancelled."""

    def __init__(
        self,
        config: WebhookConfig,
        store: JobStore,
        webhook: Webhook,
        metrics: Metrics,
        *,
        look_every_s: float = _LOOK_EVERY_S,
        backoff: Backoff | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            config: How often a message is sent.
            store: Says which are due.
            webhook: Sends one.
            metrics: Where they are counted.
            look_every_s: Pause between two questions to the store.
            backoff: Pauses after failures; 2 s to 10 minutes by default.
        """
        self._max_attempts = config.max_attempts
        self._store = store
        self._webhook = webhook
        self._metrics = metrics
        self._look_every_s = look_every_s
        self._backoff = backoff or Backoff(2_000, 600_000)
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._hosts: Counter[str] = Counter()

    async def run(self) -> None:
        """Sends what is due, until cancelled."""
        try:
            while True:
                try:
                    due = await asyncio.to_thread(
                        self._store.due_webhooks, time.time(), _DUE_AT_MOST
                    )
                except SQLAlchemyError as error:
                    _log.warning("the jobs' database does not answer: %s", fault(error))
                    due = []
                for job in due:
                    self._start(job)
                await asyncio.sleep(self._look_every_s)
        finally:
            for task in self._sending.values():
                task.cancel()

    def _start(self, job: Job) -> None:
        host = urlsplit(job.webhook_url).hostname or ""
        if (
            job.id in self._sending
            or len(self._sending) >= _AT_ONCE
            or self._hosts[host] >= _AT_ONCE_TO_A_HOST
        ):
            return

        def ended(task: asyncio.Task[None]) -> None:
            del self._sending[job.id]
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]
            if not task.cancelled() and (error := task.exception()) is not None:
                # Nothing was stored about it, so it is sent again.
                _log.error("webhook of job %s: %s", job.id, type(error).__name__)

        self._hosts[host] += 1
        self._sending[job.id] = asyncio.create_task(self._send(job))
        self._sending[job.id].add_done_callback(ended)

    async def _send(self, job: Job) -> None:
        attempts = job.webhook_attempts + 1
        again_s = None
        try:
            await self._webhook.send(job.webhook_url, _message(job), time.time())
        except WebhookFailed as error:
            last = attempts >= self._max_attempts
            self._metrics.jobs.webhooks.labels("given_up" if last else "failed").inc()
            _log.warning("webhook of job %s, attempt %s: %s", job.id, attempts, error)
            if not last:
                again_s = time.time() + self._backoff.pause_s(attempts)
        else:
            self._metrics.jobs.webhooks.labels("delivered").inc()
        await asyncio.to_thread(self._store.sent_webhook, job.id, again_s)


def _message(job: Job) -> bytes:
    return orjson.dumps(
        {
            "job_id": job.id,
            "status": job.state,
            "total_texts": job.total_texts,
            "processed_texts": job.done_texts,
            "failed_texts": job.failed_texts,
            "created_at": utc(job.created_s),
            "completed_at": utc(job.ended_s),
        }
    )
