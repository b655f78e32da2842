"""Leases chunk after chunk, has it classified as HTTP batches are, and stores the results.

A few chunks are under way at once, each leased (``leases.py``); an idle worker waits for a
submission. What the model could not answer is tried again, what is refused is not; the chunks
of a cancelled job are dropped at once.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy.exc import SQLAlchemyError

from configs.schema.jobs import JobsConfig
from deployments.clients.backoff import Backoff
from deployments.errors import (
    DeadlineExceeded,
    InferenceFailed,
    InvalidInput,
    NotReady,
    Overloaded,
    RequestError,
    TextFailed,
    TextTooLong,
)
from deployments.jobs.database_faults import fault
from deployments.jobs.leases import Leases
from deployments.jobs.records import ChunkLease, Results
from deployments.jobs.scheduler import StrideScheduler, Throughput
from deployments.predictions import error_body
from deployments.telemetry.metrics import Metrics

Answers = Sequence[dict[str, object] | RequestError]
Classify = Callable[[str, Sequence[str], float], Awaitable[tuple[int, Answers]]]
"""Routing key, texts and a deadline on ``time.monotonic`` → model version, and an answer for each
text."""

_log = logging.getLogger("ray.serve")
# An idle worker looks again after this time: leases of others run out, other replicas submit.
_LOOK_AGAIN_S = 2.0
# A replica that died is back within these.
_MODEL_BACKOFF = Backoff(4_000, 32_000)
_STORE_BACKOFF = Backoff(2_000, 8_000)
_STORE_TRIES = 4
# One try of a chunk. Longer than any queue may be; the job's own deadline may be nearer.
_TRY_S = 60.0


class Worker:
    """The loops of one process. ``run`` until cancelled."""

    def __init__(
        self,
        leases: Leases,
        classify: Classify,
        config: JobsConfig,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Starts nothing yet.

        Args:
            leases: Where chunks come from and results go.
            classify: Asks the model.
            config: How many chunks, how often, how long.
            metrics: Where facts are counted.
            clock: Epoch seconds; for tests.
            sleep: For tests.
        """
        self._leases = leases
        self._classify = classify
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._sleep = sleep
        self._scheduler = StrideScheduler(config.ageing_s)
        self._wake = asyncio.Event()
        self._held: dict[asyncio.Task[None], ChunkLease] = {}
        self.throughput = Throughput()

    def wake(self) -> None:
        """Looks for work now: there may be some."""
        self._wake.set()

    def drop(self, job_id: str) -> None:
        """Drops a job's chunks at once: their texts leave the queues."""
        for task, lease in self._held.items():
            if lease.job_id == job_id:
                task.cancel()

    async def run(self) -> None:
        """Works until cancelled; a database that fails is tried again."""
        renewing = asyncio.create_task(self._renew_leases())
        try:
            while True:
                if not await self._fill():
                    await self._wait_for_work()
        finally:
            renewing.cancel()
            for task in self._held:
                task.cancel()

    async def _fill(self) -> bool:
        """Leases one more chunk; False where enough are held or none waits."""
        if len(self._held) >= self._config.chunks_in_flight:
            return False
        now_s = self._clock()
        try:
            lease = await asyncio.to_thread(
                self._leases.lease,
                lambda waiting: self._scheduler.pick(waiting, now_s),
                now_s,
                self._config.lease_s,
            )
        except SQLAlchemyError as error:
            _log.warning("the jobs' database does not answer: %s", fault(error))
            return False
        if lease is None:
            return False
        if lease.waited_s is not None:
            self._metrics.jobs.wait_seconds.labels(lease.priority).observe(lease.waited_s)
        task = asyncio.create_task(self._answer(lease))
        self._held[task] = lease
        task.add_done_callback(self._ended)
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._held[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its lease runs out, and the chunk is tried again.
            _log.error("a chunk of a job failed: %s", type(error).__name__)
        self._wake.set()

    async def _wait_for_work(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_AGAIN_S):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _renew_leases(self) -> None:
        while True:
            await self._sleep(self._config.lease_s / 3)
            if not self._held:
                continue
            until_s = self._clock() + self._config.lease_s
            try:
                await asyncio.to_thread(self._leases.renew, list(self._held.values()), until_s)
            except SQLAlchemyError as error:
                _log.warning("leases could not be renewed: %s", fault(error))

    async def _answer(self, lease: ChunkLease) -> None:
        started_s = self._clock()
        results = await self._results(lease)
        if results is None:
            return
        ended_s = self._clock()
        stored = await self._store(lease, results, ended_s)
        failed = sum(result["error"] is not None for result in results)
        if not stored:
            self._metrics.jobs.texts.labels("discarded").inc(len(results))
            return
        self._metrics.jobs.texts.labels("failed").inc(failed)
        self._metrics.jobs.texts.labels("answered").inc(len(results) - failed)
        self._metrics.jobs.chunk_seconds.observe(ended_s - started_s)
        self.throughput.add(started_s, ended_s, len(results))

    async def _store(self, lease: ChunkLease, results: Results, ended_s: float) -> bool:
        """See ``Leases.complete``; a database that fails is tried again for a few seconds."""
        for tries in range(1, _STORE_TRIES):
            try:
                return await asyncio.to_thread(self._leases.complete, lease, results, ended_s)
            except SQLAlchemyError as error:
                _log.warning("results could not be stored: %s", fault(error))
                await self._sleep(_STORE_BACKOFF.pause_s(tries))
        return await asyncio.to_thread(self._leases.complete, lease, results, ended_s)

    async def _results(self, lease: ChunkLease) -> list[dict[str, object]] | None:
        """A result for each text; None when the job's time is over first."""
        results: dict[int, dict[str, object]] = {}
        left: list[int] = []
        for index, text in enumerate(lease.texts):
            if text is None:
                results[index] = _item(lease, index, 0, InvalidInput("not a text"))
            else:
                left.append(index)
        tries = 0
        if lease.attempts > self._config.max_attempts:
            # It was leased often and never came back: perhaps it ends the process.
            error = InferenceFailed("the text's chunk was given up after several attempts")
            results |= {index: _item(lease, index, 0, error) for index in left}
            left = []
        while left:
            version, answers = await self._try(lease, [lease.texts[index] or "" for index in left])
            # Waiting for engines that are busy with others is no failure; the job's time bounds it.
            tries += any(map(_is_outage, answers))
            again = []
            for index, answer in zip(left, answers, strict=True):
                if _may_pass(answer) and tries < self._config.max_attempts:
                    again.append(index)
                else:
                    results[index] = _item(lease, index, version, answer)
            left = again
            if left:
                await self._sleep(_MODEL_BACKOFF.pause_s(max(tries, 1)))
                if self._clock() >= lease.deadline_s:
                    return None
        return [results[index] for index in range(len(lease.texts))]

    async def _try(self, lease: ChunkLease, texts: Sequence[str]) -> tuple[int, Answers]:
        budget_s = min(_TRY_S, lease.deadline_s - self._clock())
        try:
            # Every try of a chunk asks the same version, and each chunk may get another.
            key = f"{lease.job_id}:{lease.first}"
            return await self._classify(key, texts, time.monotonic() + budget_s)
        except Overloaded as error:
            return 0, [error] * len(texts)


def _may_pass(answer: object) -> bool:
    """Whether trying again may help: it says nothing about the text."""
    return _is_outage(answer) or isinstance(answer, DeadlineExceeded | Overloaded)


def _is_outage(answer: object) -> bool:
    failed = isinstance(answer, InferenceFailed) and not isinstance(answer, TextFailed)
    return failed or isinstance(answer, NotReady)


def _item(
    lease: ChunkLease, index: int, version: int, answer: dict[str, object] | RequestError
) -> dict[str, object]:
    at = lease.first + index
    if isinstance(answer, RequestError):
        message = answer.message
        if isinstance(answer, TextTooLong):
            # No more of it was kept than shows that; its length is not known any more.
            message = f"the text has more than {answer.context['max_text_chars']} characters"
        error = error_body(answer) | {"error_message": message}
        return {"index": at, "prediction": None, "error": error, "model_version": None}
    return {"index": at, "prediction": answer, "error": None, "model_version": version}
