"""Jobs, chunks and results in the database. Every method is one transaction, or says otherwise.

What the routes need; ``leases.py`` is what the worker needs. Methods block: call them in a
thread.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from deployments.clients.database import give_space_back
from deployments.jobs.intake import WITH_ROWS, store_parts
from deployments.jobs.leases import end_jobs
from deployments.jobs.records import (
    ENDED,
    OPEN,
    Carried,
    Job,
    JobBacklog,
    NewJob,
    Part,
    Results,
    ScoredPart,
)
from deployments.jobs.tables import chunks, inputs, jobs, rows


class JobStore:
    """The database of all jobs. Safe to share between threads and between processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, new: NewJob) -> Job | None:
        """Notes a job that is still received; None when its idempotency key is taken."""
        with self._engine.begin() as connection:
            try:
                with connection.begin_nested():
                    connection.execute(
                        insert(jobs).values(
                            id=new.id,
                            owner=new.owner,
                            idempotency_key=new.idempotency_key,
                            digest=new.digest,
                            priority=new.priority,
                            state="receiving",
                            chunk_texts=new.chunk_texts,
                            created_s=new.created_s,
                            deadline_s=new.deadline_s,
                            turn_s=new.created_s,
                            webhook_url=new.webhook_url,
                        )
                    )
            except IntegrityError:
                return None
            return _job(connection, jobs.c.id == new.id)

    def by_key(self, owner: str, idempotency_key: str) -> Job | None:
        """The job that a caller submitted with that key."""
        where = and_(jobs.c.owner == owner, jobs.c.idempotency_key == idempotency_key)
        with self._reading() as connection:
            return _job(connection, where)

    def carry(self, job_id: str, carried: Carried) -> None:
        """Notes what the rows of a job's file have in common, before its parts."""
        with self._engine.begin() as connection:
            connection.execute(
                insert(inputs).values(job_id=job_id, carried=orjson.dumps(asdict(carried)))
            )

    def carried(self, job_id: str) -> Carried | None:
        """See ``carry``; None of a job of texts."""
        query = select(inputs.c.carried).where(inputs.c.job_id == job_id)
        with self._reading() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else Carried(**orjson.loads(found))

    def receive(
        self,
        job_id: str,
        parts: Iterable[Part],
        refuse: Callable[[int, int, int | None], None],
        owner: str = "",
    ) -> int:
        """Stores a job's texts and rows in several transactions; returns how many there were.

        The job stays ``receiving``: nothing of it is leased before ``start``.

        Args:
            job_id: Which.
            parts: In order, one for each chunk.
            refuse: Raises when the bytes of the job, of all jobs, or of the caller's are too many.
            owner: The caller, or empty.
        """
        return store_parts(self._engine, job_id, parts, refuse, owner)

    def start(self, job_id: str, total: int, refuse: Callable[[Sequence[JobBacklog]], None]) -> Job:
        """Makes a received job one that waits.

        Args:
            job_id: Which.
            total: Its texts.
            refuse: Raises when there is no room beside the open jobs; the job is then as before.
        """
        with self._engine.begin() as connection:
            refuse(_backlog(connection))
            connection.execute(
                update(jobs).where(jobs.c.id == job_id).values(state="pending", total_texts=total)
            )
            found = _job(connection, jobs.c.id == job_id)
            assert found is not None
            return found

    def discard(self, job_id: str) -> None:
        """Deletes a job with everything of it."""
        with self._engine.begin() as connection:
            connection.execute(delete(jobs).where(jobs.c.id == job_id))

    def job(self, job_id: str, owner: str) -> Job | None:
        """A job of that caller; None when there is none that has been received."""
        where = and_(jobs.c.id == job_id, jobs.c.owner == owner, jobs.c.state != "receiving")
        with self._reading() as connection:
            return _job(connection, where)

    def backlog(self) -> list[JobBacklog]:
        """What is left of every open job."""
        with self._reading() as connection:
            return _backlog(connection)

    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        query = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        with self._reading() as connection:
            return {state: count for state, count in connection.execute(query)}

    def averages(self) -> tuple[float | None, float | None]:
        """Returns the mean time from first chunk to end, and the mean number of texts.

        Of the kept jobs that completed; None and None without one.
        """
        query = select(
            func.avg(jobs.c.ended_s - jobs.c.started_s), func.avg(jobs.c.done_texts)
        ).where(jobs.c.state == "completed", jobs.c.started_s.is_not(None))
        with self._reading() as connection:
            seconds, texts = connection.execute(query).one()
        return (None, None) if seconds is None else (float(seconds), float(texts))

    def cancel(self, job_id: str, now_s: float) -> bool:
        """Ends an open job; False when it has ended already."""
        with self._engine.begin() as connection:
            return end_jobs(connection, jobs.c.id == job_id, "cancelled", now_s) > 0

    def ready_texts(self, job: Job) -> int:
        """How many results are there without a gap from the first text on."""
        query = select(func.min(chunks.c.position)).where(
            chunks.c.job_id == job.id, chunks.c.state != "done"
        )
        with self._reading() as connection:
            missing = connection.execute(query).scalar()
        return job.total_texts if missing is None else int(missing) * job.chunk_texts

    def results(self, job: Job, start: int, stop: int) -> Iterator[Results]:
        """Results of the chunks that hold ``start`` up to ``stop``, one at a time."""
        for position in range(start // job.chunk_texts, -(-stop // job.chunk_texts)):
            with self._reading() as connection:
                row = connection.execute(_done(job, position, chunks.c.results)).one_or_none()
            if row is None:
                return
            yield orjson.loads(row.results)

    def labels(self, job: Job, stop: int) -> list[str]:
        """Of all scores that results up to text ``stop`` have; models may have differed."""
        found: dict[str, None] = {}
        for results in self.results(job, 0, stop):
            for result in results:
                prediction: Any = result["prediction"] or {}
                found |= dict.fromkeys(prediction.get("scores", ()))
        return list(found)

    def scored(self, job: Job, stop: int) -> Iterator[ScoredPart]:
        """The chunks up to text ``stop`` with texts, results and rows, one at a time."""
        for position in range(-(-stop // job.chunk_texts)):
            query = _done(job, position, chunks.c.texts, chunks.c.results, rows.c.rows)
            with self._reading() as connection:
                row = connection.execute(query.select_from(WITH_ROWS)).one_or_none()
            if row is None:
                return
            yield ScoredPart(orjson.loads(row.texts), orjson.loads(row.results), row.rows or b"")

    def first_end_s(self, owner: str) -> float | None:
        """When the first job ended that is still here; of one caller, or of all where empty."""
        query = select(func.min(jobs.c.ended_s))
        if owner:
            query = query.where(jobs.c.owner == owner)
        with self._reading() as connection:
            first_s: float | None = connection.execute(query).scalar()
        return first_s

    def due_webhooks(self, now_s: float, at_most: int) -> list[Job]:
        """Ended jobs whose message is due, the longest due first."""
        query = (
            select(jobs).where(jobs.c.webhook_due_s <= now_s).order_by(jobs.c.webhook_due_s)
        ).limit(at_most)
        with self._reading() as connection:
            return [_record(row) for row in connection.execute(query)]

    def sent_webhook(self, job_id: str, again_s: float | None) -> None:
        """Counts an attempt; ``again_s`` is when to try again, None when that was the last."""
        with self._engine.begin() as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id)
                .values(webhook_attempts=jobs.c.webhook_attempts + 1, webhook_due_s=again_s)
            )

    def clean(self, *, ended_before_s: float, received_before_s: float, keep: int) -> int:
        """Deletes jobs that ended, or began to be received, before a time, and all but the last
        ``keep`` that ended; returns how many."""
        newest = select(jobs.c.id).where(jobs.c.state.in_(ENDED)).order_by(jobs.c.ended_s.desc())
        surplus = newest.offset(keep).limit(1_000)
        gone = or_(
            jobs.c.ended_s < ended_before_s,
            and_(jobs.c.state == "receiving", jobs.c.created_s < received_before_s),
            jobs.c.id.in_(surplus),
        )
        with self._engine.begin() as connection:
            deleted = connection.execute(delete(jobs).where(gone)).rowcount
        if deleted:
            give_space_back(self._engine)
        return deleted

    def _reading(self) -> Connection:
        return self._engine.connect().execution_options(reads=True)


def _done(job: Job, position: int, *columns: Any) -> Any:
    return select(*columns).where(
        chunks.c.job_id == job.id, chunks.c.position == position, chunks.c.state == "done"
    )


def _job(connection: Connection, where: Any) -> Job | None:
    row = connection.execute(select(jobs).where(where)).one_or_none()
    return None if row is None else _record(row)


def _record(row: Any) -> Job:
    return Job(**{name: getattr(row, name) for name in Job.__dataclass_fields__})


def _backlog(connection: Connection) -> list[JobBacklog]:
    left = jobs.c.total_texts - jobs.c.done_texts
    query = select(jobs.c.id, jobs.c.priority, left, jobs.c.owner).where(jobs.c.state.in_(OPEN))
    return [JobBacklog(*row) for row in connection.execute(query)]
