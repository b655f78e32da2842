"""Answers that were drawn for review, in the database. Every method is one transaction."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Engine, Select, delete, func, select, update

from deployments.insight.feedback.store import insert_new, mark_judged
from deployments.insight.feedback.tables import drawn, events, labels, versions
from deployments.payloads import DrawnAnswer

_DRAWN = [drawn.c[field.name] for field in fields(DrawnAnswer)]


class ReviewQueue:
    """The database. Safe to share between threads and between processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def draw(self, answers: Sequence[DrawnAnswer], most: int) -> None:
        """Takes drawn answers; beyond ``most`` waiting ones of a model the least useful go."""
        with self._engine.begin() as connection:
            for answer in answers:
                row = asdict(answer) | {"scores": orjson.dumps(answer.scores)}
                if insert_new(connection, drawn, row):
                    mark_judged(connection, answer.prediction_id)
            digests = {answer.digest for answer in answers}
            named = select(versions.c.name).where(versions.c.digest.in_(digests)).distinct()
            for name in connection.scalars(named).all():
                self._drop_surplus(connection, name, most)

    def lease(
        self, reviewer: str, name: str, kinds: Sequence[str], now_s: float, lease_s: float
    ) -> Any:
        """The next answer for a reviewer, theirs alone for a while; None when none waits.

        Args:
            reviewer: A digest of who asks; an answer that they hold is given again.
            name: The registered model that gave it.
            kinds: ``random``, ``margin`` or ``conflict``, the kind that is wanted first.
            now_s: Unix time.
            lease_s: How long it is theirs.
        """
        with self._engine.begin() as connection:
            held = drawn.c.leased_by == reviewer, drawn.c.lease_s > now_s, drawn.c.judged == 0
            query = select(drawn).where(*held, _of(name)).limit(1)
            row = connection.execute(query).one_or_none()
            for kind in kinds if row is None else ():
                if kind == "conflict":
                    query = (
                        select(drawn)
                        .join(labels, labels.c.prediction_id == drawn.c.prediction_id)
                        .where(labels.c.status == "conflict")
                        .where(
                            drawn.c.prediction_id.not_in(
                                select(events.c.prediction_id).where(events.c.actor == reviewer)
                            )
                        )
                    )
                else:
                    query = select(drawn).where(drawn.c.judged == 0, drawn.c.drawn == kind)
                query = query.where(drawn.c.lease_s <= now_s, _of(name))
                query = query.order_by(drawn.c.answered_s)
                query = query.limit(1).with_for_update(of=drawn, skip_locked=True)
                row = connection.execute(query).one_or_none()
                if row is not None:
                    break
            if row is None:
                return None
            taken = {"leased_by": reviewer, "lease_s": now_s + lease_s}
            mine = drawn.c.prediction_id == row.prediction_id
            connection.execute(update(drawn).where(mine).values(**taken))
            return row._asdict() | taken

    def drawn(self, prediction_id: str) -> DrawnAnswer | None:
        """A drawn answer."""
        with self._reading() as connection:
            query = select(*_DRAWN).where(drawn.c.prediction_id == prediction_id)
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        return DrawnAnswer(**row._asdict() | {"scores": orjson.loads(row.scores)})

    def waiting(self, name: str, now_s: float) -> dict[str, int]:
        """A model's drawn answers that nobody has judged, by kind; those that reviewers hold."""
        with self._reading() as connection:
            query = select(drawn.c.drawn, func.count()).where(drawn.c.judged == 0, _of(name))
            found = {kind: int(n) for kind, n in connection.execute(query.group_by(drawn.c.drawn))}
            held = select(func.count()).select_from(drawn).where(_of(name))
            held = held.where(drawn.c.judged == 0, drawn.c.lease_s > now_s)
            tied = select(func.count()).select_from(labels).where(labels.c.status == "conflict")
            tied = tied.where(labels.c.digest.in_(_digests(name)))
            found["leased"] = int(connection.scalar(held) or 0)
            found["conflict"] = int(connection.scalar(tied) or 0)
        return found

    def waiting_by_name(self) -> dict[str, int]:
        """Drawn answers that nobody has judged, by the registered model."""
        query = select(versions.c.name, func.count()).join(
            drawn, drawn.c.digest == versions.c.digest
        )
        query = query.where(drawn.c.judged == 0).group_by(versions.c.name)
        with self._reading() as connection:
            return {name: int(n) for name, n in connection.execute(query)}

    def drawn_at_random(self, digest: str) -> int:
        """Answers of the version that were drawn to measure it."""
        query = select(func.count()).select_from(drawn)
        with self._reading() as connection:
            ours = drawn.c.digest == digest, drawn.c.drawn == "random"
            return int(connection.scalar(query.where(*ours)) or 0)

    def unjudged(self, digest: str, after: str, limit: int) -> list[dict[str, Any]]:
        """Answers that wait, by id from ``after`` on, as ``FeedbackStore.exported`` has them."""
        query = select(drawn).where(drawn.c.digest == digest, drawn.c.judged == 0)
        query = query.where(drawn.c.prediction_id > after).order_by(drawn.c.prediction_id)
        missing = {"status": None, "trusted": False, "resolved_s": None}
        with self._reading() as connection:
            rows = connection.execute(query.limit(limit)).all()
        return [row._asdict() | missing | {"predicted": row.label, "label": None} for row in rows]

    def _drop_surplus(self, connection: Connection, name: str, most: int) -> None:
        open_ = drawn.c.judged == 0, _of(name)
        waiting = select(func.count()).select_from(drawn).where(*open_)
        surplus = int(connection.scalar(waiting) or 0) - most
        if surplus > 0:
            # "margin" before "random".
            order = drawn.c.drawn, drawn.c.answered_s
            oldest = select(drawn.c.prediction_id).where(*open_).order_by(*order).limit(surplus)
            found = connection.scalars(oldest).all()
            connection.execute(delete(drawn).where(drawn.c.prediction_id.in_(found)))

    def _reading(self) -> Connection:
        return self._engine.connect().execution_options(reads=True)


def _digests(name: str) -> Select[tuple[str]]:
    return select(versions.c.digest).where(versions.c.name == name)


def _of(name: str) -> ColumnElement[bool]:
    """Whether a registered model gave the answer."""
    return drawn.c.digest.in_(_digests(name))
