"""Versions, events and labels in the database; drawn answers are in ``queue.py``.

Every method is one transaction.

Methods block: call them in a thread. Two replicas may write side by side: the labels of an answer
are derived of all its events in the transaction that adds one, under the lock of its version.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from deployments.clients.database import give_space_back
from deployments.errors import InvalidInput
from deployments.insight.feedback.labels import DerivedLabel, FeedbackEvent, derive
from deployments.insight.feedback.tables import drawn, events, labels, versions
from deployments.versions import ServedVersion

# Of one answer: nobody fills the disk by changing their mind.
MOST_EVENTS = 100
_EVENT = [events.c[field.name] for field in fields(FeedbackEvent)]


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """A version that has answered here."""

    digest: str
    name: str
    version: int
    labels: tuple[str, ...]


class FeedbackStore:
    """The database. Safe to share between threads and between processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def know(self, served: Sequence[ServedVersion]) -> None:
        """Remembers versions, so that ids lead to their labels after any restart."""
        for model in served:
            row = {
                "digest": model.digest,
                "name": model.name,
                "version": model.version,
                "labels": orjson.dumps(model.labels),
                "first_s": time.time(),
            }
            with self._engine.begin() as connection:
                if not insert_new(connection, versions, row):
                    # The same files, served under another name since.
                    known = versions.c.digest == model.digest
                    now = update(versions).where(known, versions.c.name != model.name)
                    connection.execute(now.values(name=model.name, version=model.version))

    def versions(self) -> list[KnownVersion]:
        """All versions, the latest first."""
        order = versions.c.version.desc(), versions.c.first_s.desc()
        with self._reading() as connection:
            rows = connection.execute(select(versions).order_by(*order)).all()
        return [
            KnownVersion(row.digest, row.name, row.version, tuple(orjson.loads(row.labels)))
            for row in rows
        ]

    def add(
        self, event: FeedbackEvent, predicted: str, answered_s: float
    ) -> tuple[DerivedLabel, bool]:
        """Keeps an event; what holds now, and whether the event was new.

        Raises:
            InvalidInput: The answer has as many as it may.
        """
        of_answer = events.c.prediction_id == event.prediction_id
        with self._engine.begin() as connection:
            # One writer at a time derives the labels of a version.
            locked = select(versions.c.digest).where(versions.c.digest == event.digest)
            connection.execute(locked.with_for_update())
            known = connection.execute(select(*_EVENT).where(of_answer)).all()
            before = [FeedbackEvent(*row) for row in known]
            is_known = any(event.event_id == other.event_id for other in before)
            if is_known or (event.source != "import" and _said_last(event, before)):
                return derive(before), False
            if len(before) >= MOST_EVENTS:
                raise InvalidInput(f"this answer was judged {MOST_EVENTS} times, which is enough")
            connection.execute(insert(events).values(**asdict(event)))
            label = derive([*before, event])
            row = asdict(label) | {"trusted": int(label.trusted)}
            if before:
                changed = update(labels).where(labels.c.prediction_id == event.prediction_id)
                connection.execute(changed.values(**row))
            else:
                connection.execute(
                    insert(labels).values(
                        **row,
                        prediction_id=event.prediction_id,
                        digest=event.digest,
                        predicted=predicted,
                        answered_s=answered_s,
                    )
                )
            mark_judged(connection, event.prediction_id)
            return label, True

    def audited(self, digest: str) -> list[tuple[float, float, float, bool]]:
        """Of each answer drawn at random that reviewers judged without a tie.

        Returns:
            When it was answered and judged, the chance of the draw, whether it was right.
        """
        columns = labels.c.answered_s, labels.c.resolved_s, drawn.c.share
        query = (
            select(*columns, labels.c.label == labels.c.predicted)
            .join(drawn, drawn.c.prediction_id == labels.c.prediction_id)
            .where(drawn.c.drawn == "random", labels.c.digest == digest)
            .where(labels.c.trusted == 1, labels.c.status != "conflict")
            .order_by(labels.c.resolved_s)
        )
        with self._reading() as connection:
            rows = connection.execute(query).all()
        return [(at, judged, share, bool(right)) for at, judged, share, right in rows]

    def volunteered(self, digest: str) -> tuple[int, int]:
        """Answers that callers alone have judged, and those of them that they call wrong."""
        given = labels.c.digest == digest, labels.c.trusted == 0
        with self._reading() as connection:
            query = select(func.count()).select_from(labels).where(*given)
            n = int(connection.scalar(query) or 0)
            wrong = query.where(labels.c.label != labels.c.predicted)
            return n, int(connection.scalar(wrong) or 0)

    def actors(self, digest: str) -> list[tuple[str, str, int, int]]:
        """Of each actor and source: events, and those that differ from what holds."""
        differs = events.c.label != labels.c.label
        query = (
            select(events.c.actor, events.c.source, differs, func.count())
            .join(labels, labels.c.prediction_id == events.c.prediction_id)
            .where(events.c.digest == digest)
            .group_by(events.c.actor, events.c.source, differs)
        )
        sums: dict[tuple[str, str], list[int]] = {}
        with self._reading() as connection:
            for actor, source, other, n in connection.execute(query):
                row = sums.setdefault((actor, source), [0, 0])
                row[0] += n
                row[1] += n if other else 0
        return [(actor, source, n, wrong) for (actor, source), (n, wrong) in sorted(sums.items())]

    def exported(self, digest: str, after: str, limit: int) -> list[dict[str, Any]]:
        """Labelled answers by id from ``after`` on, with texts where they were drawn."""
        columns = [*labels.c, *(drawn.c[n] for n in ("text", "scores", "drawn", "share", "source"))]
        joined = labels.outerjoin(drawn, drawn.c.prediction_id == labels.c.prediction_id)
        query = select(*columns).select_from(joined).order_by(labels.c.prediction_id)
        query = query.where(labels.c.digest == digest, labels.c.prediction_id > after).limit(limit)
        with self._reading() as connection:
            return [row._asdict() for row in connection.execute(query)]

    def unpublished(self, most: int) -> list[FeedbackEvent]:
        """Events that no topic has taken, the first first."""
        query = select(*_EVENT).where(events.c.published == 0).order_by(events.c.number)
        with self._reading() as connection:
            return [FeedbackEvent(*row) for row in connection.execute(query.limit(most))]

    def publish(self, event_ids: Sequence[str]) -> None:
        """Marks events as taken by the topic."""
        with self._engine.begin() as connection:
            done = update(events).where(events.c.event_id.in_(list(event_ids)))
            connection.execute(done.values(published=1))

    def clean(self, before_s: float) -> None:
        """Deletes what was answered before."""
        with self._engine.begin() as connection:
            gone = select(labels.c.prediction_id).where(labels.c.answered_s < before_s)
            connection.execute(delete(events).where(events.c.prediction_id.in_(gone)))
            connection.execute(delete(labels).where(labels.c.answered_s < before_s))
            connection.execute(delete(drawn).where(drawn.c.answered_s < before_s))
        give_space_back(self._engine)

    def _reading(self) -> Connection:
        return self._engine.connect().execution_options(reads=True)


def _said_last(event: FeedbackEvent, before: Sequence[FeedbackEvent]) -> bool:
    """Whether it is what this actor said last."""
    mine = [each for each in before if (each.actor, each.source) == (event.actor, event.source)]
    last = max(mine, key=lambda each: each.received_s, default=None)
    return last is not None and last.label == event.label and event.received_s >= last.received_s


def insert_new(connection: Connection, table: Any, row: dict[str, Any]) -> bool:
    """Adds a row unless its key is there; whether it was added."""
    try:
        with connection.begin_nested():
            connection.execute(insert(table).values(**row))
    except IntegrityError:
        return False
    return True


def mark_judged(connection: Connection, prediction_id: str) -> None:
    """An answer that a reviewer judged waits no more; a caller's word leaves it in the queue."""
    judged = select(labels.c.prediction_id).where(labels.c.trusted == 1)
    judged = judged.where(labels.c.prediction_id == prediction_id)
    mine = drawn.c.prediction_id == prediction_id
    connection.execute(
        update(drawn).where(mine, drawn.c.prediction_id.in_(judged)).values(judged=1, lease_s=0.0)
    )
