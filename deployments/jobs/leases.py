"""Chunks on their way: leased for a while, renewed, and done. What the worker needs.

A chunk's result is taken only with the fence of its latest lease, so a process that was
thought dead and comes back changes nothing. Every method is one transaction and blocks.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, and_, exists, or_, select, update

from deployments.jobs.records import OPEN, ChunkLease, Results, State, Waiting
from deployments.jobs.tables import chunks, jobs


class Leases:
    """The queue side of the database. Safe to share between threads and between processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def lease(
        self, pick: Callable[[Sequence[Waiting]], Waiting], now_s: float, lease_s: float
    ) -> ChunkLease | None:
        """Leases the next chunk of the job that ``pick`` chooses; None when none waits.

        Open jobs whose deadline has passed end first.
        """
        free = or_(
            chunks.c.state == "pending", and_(chunks.c.state == "leased", chunks.c.until_s < now_s)
        )
        with self._engine.begin() as connection:
            late = and_(jobs.c.state.in_(OPEN), jobs.c.deadline_s <= now_s)
            end_jobs(connection, late, "expired", now_s, error="the job's time was over")
            shown = (jobs.c.id, jobs.c.priority, jobs.c.turn_s, jobs.c.chunk_texts, jobs.c.owner)
            query = select(*shown).where(
                jobs.c.state.in_(OPEN), exists().where(and_(chunks.c.job_id == jobs.c.id, free))
            )
            waiting = [Waiting(*row) for row in connection.execute(query)]
            if not waiting:
                return None
            chosen = pick(waiting)
            # The job's row first, here and in `complete`, so that no two wait for each other.
            job = connection.execute(
                select(jobs).where(jobs.c.id == chosen.job_id).with_for_update()
            ).one()
            row = connection.execute(
                select(chunks)
                .where(chunks.c.job_id == chosen.job_id, free)
                .order_by(chunks.c.position)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).one_or_none()
            if row is None:
                return None
            return _leased(connection, job, row, now_s, lease_s)

    def renew(self, leases: Iterable[ChunkLease], until_s: float) -> None:
        """Prolongs leases that are still held."""
        with self._engine.begin() as connection:
            for lease in leases:
                connection.execute(update(chunks).where(_held(lease)).values(until_s=until_s))

    def complete(self, lease: ChunkLease, results: Results, now_s: float) -> bool:
        """Stores a chunk's results; ends the job with its last one.

        Returns:
            False, and nothing is stored, when the chunk was leased again or the job has ended.
        """
        failed = sum(result["error"] is not None for result in results)
        with self._engine.begin() as connection:
            mine = and_(jobs.c.id == lease.job_id, jobs.c.state == "processing")
            if connection.execute(select(jobs.c.id).where(mine).with_for_update()).first() is None:
                return False
            stored = connection.execute(
                update(chunks)
                .where(_held(lease))
                .values(state="done", results=orjson.dumps(list(results)))
            )
            if not stored.rowcount:
                return False
            connection.execute(
                update(jobs)
                .where(mine)
                .values(
                    done_texts=jobs.c.done_texts + len(results),
                    failed_texts=jobs.c.failed_texts + failed,
                )
            )
            whole = and_(mine, jobs.c.done_texts == jobs.c.total_texts)
            nothing = and_(whole, jobs.c.failed_texts == jobs.c.total_texts)
            end_jobs(connection, nothing, "failed", now_s, error="every text failed")
            end_jobs(connection, whole, "completed", now_s)
            return True


def _held(lease: ChunkLease) -> Any:
    return and_(
        chunks.c.job_id == lease.job_id,
        chunks.c.position == lease.position,
        chunks.c.fence == lease.fence,
        chunks.c.state == "leased",
    )


def _leased(connection: Connection, job: Any, row: Any, now_s: float, lease_s: float) -> ChunkLease:
    again = row.size if row.fence else 0
    connection.execute(
        update(chunks)
        .where(chunks.c.job_id == row.job_id, chunks.c.position == row.position)
        .values(state="leased", fence=row.fence + 1, until_s=now_s + lease_s)
    )
    connection.execute(
        update(jobs)
        .where(jobs.c.id == row.job_id)
        .values(
            state="processing",
            started_s=now_s if job.started_s is None else job.started_s,
            turn_s=now_s,
            retried_texts=jobs.c.retried_texts + again,
        )
    )
    return ChunkLease(
        job_id=row.job_id,
        position=row.position,
        first=row.position * job.chunk_texts,
        fence=row.fence + 1,
        attempts=row.fence + 1,
        texts=orjson.loads(row.texts),
        deadline_s=job.deadline_s,
        priority=job.priority,
        waited_s=now_s - job.created_s if job.started_s is None else None,
    )


def end_jobs(
    connection: Connection, where: Any, state: State, now_s: float, error: str = ""
) -> int:
    """Ends the open jobs among those that ``where`` names; returns how many."""
    ended = (
        update(jobs)
        .where(where, jobs.c.state.in_(OPEN))
        .values(state=state, ended_s=now_s, error=error)
    )
    has_webhook = jobs.c.webhook_url != ""
    ids = [row.id for row in connection.execute(select(jobs.c.id).where(where, has_webhook))]
    count = connection.execute(ended).rowcount
    if ids and count:
        connection.execute(
            update(jobs)
            .where(jobs.c.id.in_(ids), jobs.c.state == state)
            .values(webhook_due_s=now_s)
        )
    return count
