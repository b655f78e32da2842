"""Figures in the database: as they came, then by minute, then by hour. Texts are in none of them.

A row's key makes a delta that arrives again count once, also after it was summed up. Methods block.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    LargeBinary,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from deployments.clients.database import give_space_back
from deployments.insight.tables import metadata
from deployments.telemetry.figures import Figures

# ``source`` is a replica, or ``minute`` or ``hour`` with ``number`` its count since 1970.
rows = Table(
    "sentigraph_kpi_figures",
    metadata,
    Column("source", String(32), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("at_s", Float(53), nullable=False),
    Column("figures", LargeBinary, nullable=False),
    Index("sentigraph_kpi_figures_at", "at_s"),
)
_WIDTHS = {"minute": 60.0, "hour": 3_600.0}
# A replica keeps what it could not send for ten minutes.
_SETTLED_S = 900.0
_HOURS_KEPT_S = 35 * 86_400.0
_NOTHING = b"{}"


@dataclass(frozen=True, slots=True)
class Window:
    """Sums of a time.

    Attributes:
        figures: The sums.
        begins_s: Start of the earliest row in it.
        ends_s: When it was read.
        replicas: Replicas that were heard in the last minute.
        expected: Those that were heard in the last five.
    """

    figures: Figures
    begins_s: float
    ends_s: float
    replicas: int
    expected: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return max(0.0, self.ends_s - self.begins_s)


class KpiStore:
    """The database. Safe to share between threads and between processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, source: str, number: int, figures: Figures, now_s: float) -> None:
        """Takes what a replica counted since its last delta; one that is known changes nothing."""
        row = {"source": source, "number": number, "at_s": now_s, "figures": orjson.dumps(figures)}
        with self._engine.begin() as connection:
            try:
                with connection.begin_nested():
                    connection.execute(insert(rows).values(**row))
            except IntegrityError:
                return

    def window(self, now_s: float, *lengths_s: float) -> list[Window]:
        """The sums of the last so many seconds, for each length, read at one time."""
        longest = max(lengths_s)
        query = select(rows).where(rows.c.at_s >= now_s - longest)
        with self._engine.connect().execution_options(reads=True) as connection:
            found = connection.execute(query).all()
        parsed = [(row.source, row.at_s, orjson.loads(row.figures)) for row in found]
        heard = {
            since: {source for source, at_s, _ in parsed if _is_replica(source, at_s, now_s, since)}
            for since in (60.0, 300.0)
        }
        windows = []
        for length in lengths_s:
            inside = [(at_s, figures) for _, at_s, figures in parsed if at_s >= now_s - length]
            begins_s = min((at_s for at_s, _ in inside), default=now_s)
            sums = _sum(figures for _, figures in inside)
            windows.append(Window(sums, begins_s, now_s, len(heard[60.0]), len(heard[300.0])))
        return windows

    def roll_up(self, now_s: float, minutes_kept_s: float) -> None:
        """Sums rows by minute once they are settled, and minutes by hour once they are old."""
        with self._engine.begin() as connection:
            settled = rows.c.source.not_in(("minute", "hour")), rows.c.at_s < now_s - _SETTLED_S
            self._into(connection, "minute", *settled, keep_keys=True)
            old = rows.c.source == "minute", rows.c.at_s < now_s - minutes_kept_s
            self._into(connection, "hour", *old, keep_keys=False)
            done = rows.c.figures == _NOTHING, rows.c.at_s < now_s - 4 * _SETTLED_S
            connection.execute(delete(rows).where(*done))
            connection.execute(delete(rows).where(rows.c.at_s < now_s - _HOURS_KEPT_S))
        give_space_back(self._engine)

    def _into(self, connection: Connection, kind: str, *which: object, keep_keys: bool) -> None:
        found = connection.execute(
            select(rows).where(*which, rows.c.figures != _NOTHING)  # type: ignore[arg-type]
        ).all()
        by_part: dict[int, list[Figures]] = defaultdict(list)
        for row in found:
            by_part[int(row.at_s // _WIDTHS[kind])].append(orjson.loads(row.figures))
            mine = rows.c.source == row.source, rows.c.number == row.number
            if keep_keys:
                connection.execute(update(rows).where(*mine).values(figures=_NOTHING))
            else:
                connection.execute(delete(rows).where(*mine))
        for number, parts in by_part.items():
            key = rows.c.source == kind, rows.c.number == number
            known = connection.scalar(select(rows.c.figures).where(*key))
            if known is not None:
                sums = orjson.dumps(_sum([orjson.loads(known), *parts]))
                connection.execute(update(rows).where(*key).values(figures=sums))
                continue
            at_s, sums = number * _WIDTHS[kind], orjson.dumps(_sum(parts))
            new = insert(rows).values(source=kind, number=number, at_s=at_s, figures=sums)
            connection.execute(new)


def _is_replica(source: str, at_s: float, now_s: float, since_s: float) -> bool:
    return source not in _WIDTHS and at_s >= now_s - since_s


def _sum(parts: Iterable[Figures]) -> Figures:
    total: Figures = defaultdict(float)
    for part in parts:
        for name, value in part.items():
            total[name] += value
    return dict(total)
