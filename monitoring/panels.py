"""What a dashboard is made of: queries in panels, panels in rows. Plain records, no Grafana."""

from collections.abc import Iterator
from dataclasses import dataclass

STAT_WIDTH, STAT_HEIGHT = 4, 4
LINES_HEIGHT = 8


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and the name of each line that it draws: ``{{label}}`` is filled in."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    Attributes:
        title: Unique on its dashboard.
        says: What is shown, and what to do when it looks wrong.
        queries: Drawn together, in one unit.
        unit: Grafana's name of the unit.
        limits: Rising values from which it is orange and red, or red alone where one is given.
        low_is_bad: The limits are crossed from above.
        stacked: The lines are parts of one sum.
        is_stat: The last value as a number, instead of lines.
        width: Of 24 columns.
        maximum: Upper end of the axis; None fits what is shown.
    """

    title: str
    says: str
    queries: tuple[Query, ...]
    unit: str = "short"
    limits: tuple[float, ...] = ()
    low_is_bad: bool = False
    stacked: bool = False
    is_stat: bool = False
    width: int = 8
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard.

    Attributes:
        name: Of its file; with ``sentigraph-`` before it, its uid in Grafana.
        title: As a person finds it.
        says: Which question it answers.
        numbers: The first row: single values, good or bad at a glance.
        rows: What explains them.
        deployment_of: A series whose ``deployment`` label can be chosen; empty: no choice.
    """

    name: str
    title: str
    says: str
    numbers: tuple[Panel, ...]
    rows: tuple[Row, ...]
    deployment_of: str = ""

    def panels(self) -> Iterator[Panel]:
        """Every panel, the numbers first."""
        yield from self.numbers
        for row in self.rows:
            yield from row.panels


def number(
    title: str,
    says: str,
    expr: str,
    unit: str = "short",
    limits: tuple[float, ...] = (),
    *,
    low_is_bad: bool = False,
) -> Panel:
    """A single value of the first row."""
    return Panel(
        title,
        says,
        (Query(expr),),
        unit,
        limits,
        low_is_bad=low_is_bad,
        is_stat=True,
        width=STAT_WIDTH,
    )
