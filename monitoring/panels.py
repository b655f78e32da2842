"""Plain records of a dashboard: queries in panels, panels in rows; without Grafana."""

from collections.abc import Iterator
from dataclasses import dataclass

STAT_WIDTH, STAT_HEIGHT = 4, 4
LINES_HEIGHT = 8


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and the name of its lines; Grafana fills in ``{{label}}``."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph or number.

    Attributes:
        title: Unique on its dashboard.
        description: What is shown, and what to do when it looks wrong.
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
    description: str
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
        description: Which question it answers.
        numbers: The first row: single values, good or bad at a glance.
        rows: What explains them.
        deployment_of: A series whose ``deployment`` label can be chosen; empty: no choice.
    """

    name: str
    title: str
    description: str
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
    description: str,
    expr: str,
    unit: str = "short",
    limits: tuple[float, ...] = (),
    *,
    low_is_bad: bool = False,
) -> Panel:
    """A single value of the first row."""
    queries = (Query(expr),)
    return Panel(
        title, description, queries, unit, limits, low_is_bad, is_stat=True, width=STAT_WIDTH
    )


def lines(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    limits: tuple[float, ...] = (),
    stacked: bool = False,
    maximum: float | None = None,
) -> Panel:
    """Lines over time; arguments as of ``Panel``."""
    return Panel(title, description, queries, unit, limits, stacked=stacked, maximum=maximum)


def row(title: str, *panels: Panel) -> Row:
    """Panels under a heading."""
    return Row(title, panels)
