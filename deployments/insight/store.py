"""Counts, references and events in the database. Every method is one transaction, or says so.

Methods block: call them in a thread. Two replicas may work side by side while Serve replaces one:
what is changed was read in the same transaction, under the row's lock.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields, replace

import orjson
from sqlalchemy import Connection, Engine, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from deployments.clients.database import give_space_back
from deployments.inference.signals import Histograms, add, empty, seen
from deployments.insight.tables import blocks, deltas, events, watched
from deployments.insight.watched import DAY_S, Event, HeldLevel, Watched, new_watched
from deployments.payloads import TrafficDelta

Change = Callable[[Watched, Histograms], tuple[Watched, Sequence[Event]]]
"""Of a version and the counts of its last 24 hours: the version afterwards, and what happened."""

_DELTAS_KEPT_S = 3_600.0
_KEPT_S = 35 * DAY_S


class InsightStore:
    """The database. Safe to share between threads and between processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, delta: TrafficDelta, now_s: float) -> None:
        """Takes a delta; one that is known changes nothing."""
        with self._engine.begin() as connection:
            for model in delta.models:
                key = {"source": delta.source, "number": delta.number, "digest": model.digest}
                counts = orjson.dumps(model.counts)
                new = insert(deltas).values(**key, arrived_s=now_s, counts=counts)
                try:
                    with connection.begin_nested():
                        connection.execute(new)
                except IntegrityError:
                    continue
                known = _read(connection, model.digest)
                if known is not None and known.name != model.name:
                    # The same files, served under another name since.
                    now = replace(known, name=model.name, version=model.version)
                    _write(connection, now, ())
                if known is None:
                    made = new_watched(model.digest, model.name, model.version, model.labels)
                    connection.execute(insert(watched).values(**_row(made)))

    def close_blocks(
        self,
        now_s: float,
        is_full: Callable[[int, float], bool],
        absorb: Callable[[Watched, Histograms], tuple[Watched, Sequence[Event]]],
    ) -> int:
        """Closes the blocks that are full, each in a transaction; how many there were.

        Args:
            now_s: Unix time.
            is_full: Of the texts of a block and its age.
            absorb: What a block does to its version.
        """
        closed = 0
        for digest in self._open_digests():
            with self._engine.begin() as connection:
                found = _read(connection, digest, lock=True)
                rows = connection.execute(
                    select(deltas).where(deltas.c.digest == digest, deltas.c.in_block == 0)
                ).all()
                if found is None or not rows:
                    continue
                block = _sum(found.labels, (row.counts for row in rows))
                # From the last block, for blocks that are closed more often than once an interval
                # would break the promised rate of false alarms.
                begun_s = max(found.block_s, min(row.arrived_s for row in rows))
                if not is_full(seen(block), now_s - begun_s):
                    continue
                for row in rows:
                    connection.execute(
                        update(deltas)
                        .where(
                            deltas.c.source == row.source,
                            deltas.c.number == row.number,
                            deltas.c.digest == digest,
                        )
                        .values(in_block=1)
                    )
                counts = orjson.dumps(block)
                closing = insert(blocks).values(digest=digest, ended_s=now_s, counts=counts)
                connection.execute(closing)
                _write(connection, *absorb(found, block))
                closed += 1
        return closed

    def change(self, digest: str, now_s: float, change: Change) -> Watched | None:
        """Changes a version; None if it is not known."""
        with self._engine.begin() as connection:
            found = _read(connection, digest, lock=True)
            if found is None:
                return None
            day = _sum(found.labels, _recent(connection, digest, now_s - DAY_S))
            after, happened = change(found, day)
            _write(connection, after, happened)
            return after

    def watched(self, digest: str) -> Watched | None:
        """A version, if any text of it was counted."""
        with self._reading() as connection:
            return _read(connection, digest)

    def digests(self) -> list[str]:
        """Of all versions that are known."""
        with self._reading() as connection:
            return list(connection.scalars(select(watched.c.digest)))

    def window(self, found: Watched, texts: int, now_s: float) -> Histograms:
        """Counts of the latest blocks that have ``texts`` texts together, of the last 24 hours."""
        total = empty(found.labels)
        with self._reading() as connection:
            for counts in _recent(connection, found.digest, now_s - DAY_S):
                if seen(total) >= texts:
                    break
                add(total, orjson.loads(counts))
        return total

    def pending(self, digest: str) -> int:
        """Texts that are in no block yet."""
        with self._reading() as connection:
            open_ = deltas.c.digest == digest, deltas.c.in_block == 0
            rows = connection.scalars(select(deltas.c.counts).where(*open_)).all()
        return sum(seen(orjson.loads(counts)) for counts in rows)

    def alarms(self, digest: str, after_s: float) -> int:
        """Times that a signal of the version drifted."""
        with self._reading() as connection:
            drifted = events.c.kind == "level", events.c.level == "drifted"
            since = events.c.digest == digest, events.c.at_s >= after_s
            query = select(func.count()).select_from(events).where(*drifted, *since)
            return int(connection.scalar(query) or 0)

    def events(self, digest: str, limit: int) -> list[Event]:
        """The latest events of a version, the last first."""
        columns = [events.c[field.name] for field in fields(Event)]
        query = select(*columns).where(events.c.digest == digest).order_by(events.c.id.desc())
        with self._reading() as connection:
            return [Event(*row) for row in connection.execute(query.limit(limit))]

    def clean(self, now_s: float) -> None:
        """Deletes what is too old."""
        with self._engine.begin() as connection:
            old = deltas.c.arrived_s < now_s - _DELTAS_KEPT_S, deltas.c.in_block == 1
            connection.execute(delete(deltas).where(*old))
            connection.execute(delete(blocks).where(blocks.c.ended_s < now_s - DAY_S))
            connection.execute(delete(events).where(events.c.at_s < now_s - _KEPT_S))
            gone = watched.c.block_s > 0, watched.c.block_s < now_s - _KEPT_S
            connection.execute(delete(watched).where(*gone))
        give_space_back(self._engine)

    def _open_digests(self) -> list[str]:
        with self._reading() as connection:
            query = select(deltas.c.digest).where(deltas.c.in_block == 0).distinct()
            return list(connection.scalars(query))

    def _reading(self) -> Connection:
        return self._engine.connect().execution_options(reads=True)


def _read(connection: Connection, digest: str, *, lock: bool = False) -> Watched | None:
    query = select(watched).where(watched.c.digest == digest)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        return None
    found = row._asdict()
    levels = {name: HeldLevel(**held) for name, held in orjson.loads(found["levels"]).items()}
    labels = tuple(orjson.loads(found["labels"]))
    return Watched(
        **found | {"labels": labels, "levels": levels, "reference": orjson.loads(row.reference)}
    )


def _row(found: Watched) -> dict[str, object]:
    row = asdict(found)
    return row | {name: orjson.dumps(row[name]) for name in ("labels", "reference", "levels")}


def _write(connection: Connection, after: Watched, happened: Sequence[Event]) -> None:
    connection.execute(
        update(watched).where(watched.c.digest == after.digest).values(**_row(after))
    )
    if happened:
        connection.execute(insert(events), [asdict(event) for event in happened])


def _recent(connection: Connection, digest: str, after_s: float) -> Iterator[bytes]:
    """Counts of a version's blocks, the latest first."""
    since = blocks.c.digest == digest, blocks.c.ended_s >= after_s
    return iter(
        connection.scalars(select(blocks.c.counts).where(*since).order_by(blocks.c.id.desc()))
    )


def _sum(labels: tuple[str, ...], counts: Iterator[bytes]) -> Histograms:
    total = empty(labels)
    for row in counts:
        add(total, orjson.loads(row))
    return total
