"""What the routes of batch jobs do: take, show, cancel. Limits are checked here.

Knows no HTTP; everything that it refuses is a ``RequestError``.
"""

import asyncio
import hashlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import BinaryIO, ParamSpec, TypeVar

import orjson
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from configs.schema.app import AppConfig
from deployments.errors import EmptyBatch, InvalidInput, NotReady
from deployments.jobs.capacity import SpaceUsedUp, check_bytes, check_capacity, no_space
from deployments.jobs.database_faults import away
from deployments.jobs.errors import JobNotCancellable, JobNotFound, JobRefused, ResultsNotReady
from deployments.jobs.file_kind import compression_of
from deployments.jobs.input_files import InputFile, at_most, known_kind, text_parts
from deployments.jobs.records import (
    ENDED,
    Carried,
    Job,
    JobBacklog,
    JobOptions,
    JobView,
    NewJob,
    Page,
    Part,
)
from deployments.jobs.result_files import Format, ResultFile
from deployments.jobs.scheduler import seconds_left
from deployments.jobs.store import JobStore
from deployments.jobs.webhook import Webhook
from deployments.jobs.worker import Worker

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")
_BEING_RECEIVED = "the job of this Idempotency-Key is still being received; try again soon"


class JobQueue:
    """Takes jobs and answers questions about them. One for each Jobs replica."""

    def __init__(
        self,
        config: AppConfig,
        store: JobStore,
        worker: Worker,
        webhook: Webhook,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config.jobs
        self._max_chars = config.limits.max_text_chars
        self._store = store
        self._worker = worker
        self._webhook = webhook
        self._clock = clock
        self._receiving: set[str] = set()

    async def submit(self, options: JobOptions, texts: Sequence[str]) -> tuple[JobView, bool]:
        """Takes a job of texts; also whether it is new.

        Raises:
            RequestError: It is not taken.
        """
        digest = hashlib.sha256(orjson.dumps([options.asked, list(texts)])).hexdigest()
        # A text that is too long fails alone, when its chunk runs; no more of it is kept than that
        # takes.
        cut = (text[: self._max_chars + 1] for text in texts)
        return await self._take(options, digest, text_parts(cut, self._chunk_texts(options)))

    async def upload(
        self, options: JobOptions, file: BinaryIO, filename: str, column: str, prefix: str
    ) -> tuple[JobView, bool]:
        """Takes a job of a file's rows, whose texts are in ``column``; also whether it is new.

        Raises:
            RequestError: It is not taken.
        """
        kind = known_kind(filename), compression_of(filename)
        found = await asyncio.to_thread(_digest, file)
        found.update(orjson.dumps([options.asked, kind, column, prefix]))
        file.seek(0)
        given = InputFile(
            file,
            filename,
            column,
            prefix,
            max_chars=self._max_chars,
            max_bytes=4 * self._config.max_upload_bytes,
            max_part_bytes=self._config.max_job_bytes,
        )
        rows = given.read(self._chunk_texts(options))
        return await self._take(options, found.hexdigest(), rows)

    async def show(self, job_id: str, owner: str) -> JobView:
        """A job as it stands.

        Raises:
            JobNotFound: There is none, or it is another caller's.
        """
        job = await self._job(job_id, owner)
        return JobView(job, 0.0) if job.state in ENDED else await self._estimated(job)

    async def cancel(self, job_id: str, owner: str) -> None:
        """Ends a job and drops its chunks under way.

        Raises:
            JobNotFound: There is none, or it is another caller's.
            JobNotCancellable: It has ended already.
        """
        await self._job(job_id, owner)
        if not await self._ask(self._store.cancel, job_id, self._clock()):
            raise JobNotCancellable("the job has ended already")
        self._worker.drop(job_id)
        self._worker.wake()

    async def page(self, job_id: str, owner: str, number: int, size: int) -> Page:
        """Results of a page from 1 on, in the order of the texts; empty past the last one.

        Raises:
            JobNotFound: There is none, or it is another caller's.
            ResultsNotReady: Not one result is there yet.
        """
        job = await self._job(job_id, owner)
        ready = await self._ask(self._store.ready_texts, job)
        if not ready:
            raise ResultsNotReady("the job has no results yet", {"state": job.state})
        start = min((number - 1) * size, ready)
        stop = min(start + size, ready)
        results = await self._ask(self._between, job, start, stop)
        return Page(job, results, ready)

    async def file(
        self, job_id: str, owner: str, kind: Format, *, guarded: bool = False
    ) -> Iterator[bytes]:
        """All results of a job that has ended beside what their rows came with, in their order.

        Raises:
            JobNotFound: There is none, or it is another caller's.
            ResultsNotReady: It has not ended.
        """
        job = await self._job(job_id, owner)
        if job.state not in ENDED:
            raise ResultsNotReady("the job has not ended", {"state": job.state})
        ready = await self._ask(self._store.ready_texts, job)
        carried = await self._ask(self._store.carried, job.id)
        labels = await self._ask(self._store.labels, job, ready)
        file = ResultFile(carried, labels, guarded=guarded)
        return file.write(self._store.scored(job, ready), kind)

    async def counts(self) -> dict[str, int]:
        """Returns the number of jobs by state."""
        return await self._ask(self._store.counts)

    async def averages(self) -> tuple[float | None, float | None]:
        """See ``JobStore.averages``."""
        return await self._ask(self._store.averages)

    async def backlog(self) -> list[JobBacklog]:
        """Returns what is left of every open job."""
        return await self._ask(self._store.backlog)

    @property
    def texts_per_s(self) -> float | None:
        """Throughput of all jobs together; None before a chunk has ended."""
        return self._worker.throughput.texts_per_s

    async def _estimated(self, job: Job) -> JobView:
        return JobView(job, seconds_left(job.id, await self.backlog(), self.texts_per_s))

    async def _job(self, job_id: str, owner: str) -> Job:
        job = await self._ask(self._store.job, job_id, owner)
        if job is None:
            raise JobNotFound("no such job; one that has ended is deleted after a while")
        return job

    async def _ask(
        self, call: Callable[_Given, _Answer], *given: _Given.args, **named: _Given.kwargs
    ) -> _Answer:
        """Returns what the database answers, asked in a thread.

        Raises:
            NotReady: It does not answer.
        """
        try:
            return await asyncio.to_thread(call, *given, **named)
        except (OperationalError, InterfaceError, NoConnection) as error:
            raise away(error) from error

    async def _take(
        self, options: JobOptions, digest: str, given: Iterable[Carried | Part]
    ) -> tuple[JobView, bool]:
        if options.webhook_url:
            self._webhook.check(options.webhook_url)
        new = self._new(options, digest)
        if (known := await self._known(options)) is not None:
            return await self._same(known, options, digest), False
        # Before anything is stored, and again when all is: a full queue costs no disk.
        check_capacity(self._config, new.priority, 1, await self.backlog(), new.owner)
        self._receiving.add(new.id)
        try:
            if await self._ask(self._store.create, new) is None:
                raise NotReady(_BEING_RECEIVED)
            try:
                started = await self._ask(self._receive, new, given)
            except BaseException:
                await self._ask(self._store.discard, new.id)
                raise
        finally:
            self._receiving.discard(new.id)
        self._worker.wake()
        return await self._estimated(started), True

    def _new(self, options: JobOptions, digest: str) -> NewJob:
        config, now_s = self._config, self._clock()
        timeout_s = options.timeout_seconds or config.default_timeout_s
        if timeout_s > config.max_timeout_s:
            raise InvalidInput(
                f"timeout_seconds is above {config.max_timeout_s}",
                {"field": "timeout_seconds", "max_timeout_s": config.max_timeout_s},
            )
        return NewJob(
            id=uuid.uuid4().hex,
            owner=options.owner,
            priority=options.priority,
            chunk_texts=self._chunk_texts(options),
            deadline_s=now_s + timeout_s,
            created_s=now_s,
            idempotency_key=options.idempotency_key,
            digest=digest,
            webhook_url=options.webhook_url,
        )

    async def _known(self, options: JobOptions) -> Job | None:
        """The job that an idempotency key names already."""
        if options.idempotency_key is None:
            return None
        job = await self._ask(self._store.by_key, options.owner, options.idempotency_key)
        if job is not None and job.state == "receiving" and job.id not in self._receiving:
            # Its process died before it had all of it; no caller has its id.
            await self._ask(self._store.discard, job.id)
            return None
        return job

    async def _same(self, known: Job, options: JobOptions, digest: str) -> JobView:
        if known.digest != digest:
            raise JobRefused("this Idempotency-Key was used for another job")
        if known.state == "receiving":
            raise NotReady(_BEING_RECEIVED)
        return await self.show(known.id, options.owner)

    def _chunk_texts(self, options: JobOptions) -> int:
        most = self._config.chunk_texts
        return min(options.max_batch_size or most, most)

    def _receive(self, new: NewJob, given: Iterable[Carried | Part]) -> Job:
        parts = self._noting(new.id, at_most(given, self._config.max_texts))
        refuse = partial(check_bytes, config=self._config, owner=new.owner)
        try:
            total = self._store.receive(new.id, parts, refuse, new.owner)
        except SpaceUsedUp as full:
            # After its transaction: another connection would wait for that one.
            first_end_s = self._store.first_end_s(full.owner)
            raise no_space(self._config, full.owner, first_end_s, new.created_s) from None
        if not total:
            raise EmptyBatch("there is not one text; send at least one", {"field": "texts"})
        return self._store.start(
            new.id,
            total,
            lambda backlog: check_capacity(self._config, new.priority, total, backlog, new.owner),
        )

    def _noting(self, job_id: str, given: Iterable[Carried | Part]) -> Iterator[Part]:
        for each in given:
            if isinstance(each, Carried):
                self._store.carry(job_id, each)
            else:
                yield each

    def _between(self, job: Job, start: int, stop: int) -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        for results in self._store.results(job, start, stop):
            found += results
        skipped = start % job.chunk_texts
        return found[skipped : skipped + stop - start]


def _digest(file: BinaryIO) -> "hashlib._Hash":
    found = hashlib.sha256()
    while piece := file.read(1 << 20):
        found.update(piece)
    return found
