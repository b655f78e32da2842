"""Figures in the database: as they came, then by minute, then by hour. Texts are in none of them.

A row's key makes a delta that arrives again count once, also after it was summed up. A row has the
figures of each registered model by its name; those of release 0.1 belong to none. Methods block.
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

ByName = dict[str, Figures]
"""Figures by the registered model."""


@dataclass(frozen=True, slots=True)
class Window:
    """Sums of a time.

    Attributes:
        figures: The sums.
        names: Registered models that have figures in it.
        begins_s: Start of the earliest row of what was asked for.
        ends_s: When it was read.
        replicas: Replicas that were heard in the last minute.
        expected: Those that were heard in the last five.
    """

    figures: Figures
    names: frozenset[str]
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

    def add(self, source: str, number: int, name: str, figures: Figures, now_s: float) -> None:
        """Takes what a replica counted since its last delta; one that is known changes nothing."""
        row = {
            "source": source,
            "number": number,
            "at_s": now_s,
            "figures": orjson.dumps({name: figures}),
        }
        with self._engine.begin() as connection:
            try:
                with connection.begin_nested():
                    connection.execute(insert(rows).values(**row))
            except IntegrityError:
                return

    def window(self, now_s: float, *lengths_s: float, name: str | None = None) -> list[Window]:
        """The sums of the last so many seconds, for each length, read at one time.

        Args:
            now_s: Unix time.
            lengths_s: In seconds.
            name: The registered model; all of them without one.
        """
        longest = max(lengths_s)
        query = select(rows).where(rows.c.at_s >= now_s - longest)
        with self._engine.connect().execution_options(reads=True) as connection:
            found = connection.execute(query).all()
        parsed = [(row.source, row.at_s, _by_name(row.figures)) for row in found]
        heard = {
            since: {source for source, at_s, _ in parsed if _is_replica(source, at_s, now_s, since)}
            for since in (60.0, 300.0)
        }
        windows = []
        for length in lengths_s:
            inside = [(at_s, row) for _, at_s, row in parsed if at_s >= now_s - length]
            sums = _sums(row for _, row in inside)
            names = frozenset(each for each, figures in sums.items() if each and figures)
            mine = [at_s for at_s, row in inside if name is None or name in row]
            figures = _sum(sums.values()) if name is None else sums.get(name, {})
            replicas = len(heard[60.0]), len(heard[300.0])
            windows.append(Window(figures, names, min(mine, default=now_s), now_s, *replicas))
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
        by_part: dict[int, list[ByName]] = defaultdict(list)
        for row in found:
            by_name = {name: sums for name, sums in _by_name(row.figures).items() if sums}
            if by_name:
                by_part[int(row.at_s // _WIDTHS[kind])].append(by_name)
            mine = rows.c.source == row.source, rows.c.number == row.number
            if keep_keys:
                connection.execute(update(rows).where(*mine).values(figures=_NOTHING))
            else:
                connection.execute(delete(rows).where(*mine))
        for number, parts in by_part.items():
            key = rows.c.source == kind, rows.c.number == number
            known = connection.scalar(select(rows.c.figures).where(*key))
            if known is not None:
                sums = orjson.dumps(_sums([_by_name(known), *parts]))
                connection.execute(update(rows).where(*key).values(figures=sums))
                continue
            at_s, sums = number * _WIDTHS[kind], orjson.dumps(_sums(parts))
            new = insert(rows).values(source=kind, number=number, at_s=at_s, figures=sums)
            connection.execute(new)


def _is_replica(source: str, at_s: float, now_s: float, since_s: float) -> bool:
    return source not in _WIDTHS and at_s >= now_s - since_s


def _by_name(stored: bytes) -> ByName:
    found = orjson.loads(stored)
    flat = any(isinstance(value, float | int) for value in found.values())
    return {"": found} if flat else found


def _sums(rows_of: Iterable[ByName]) -> ByName:
    parts: dict[str, list[Figures]] = defaultdict(list)
    for by_name in rows_of:
        for name, figures in by_name.items():
            parts[name].append(figures)
    return {name: _sum(each) for name, each in parts.items()}


def _sum(parts: Iterable[Figures]) -> Figures:
    total: Figures = defaultdict(float)
    for part in parts:
        for name, value in part.items():
            total[name] += value
    return dict(total)
