"""Queries that most panels ask, with the names of their lines."""

from collections.abc import Iterator

from monitoring.panels import Query
from monitoring.promql import quantile, rate


def rates(name: str, *matchers: str, by: str) -> Query:
    """A line for each value of the label ``by``: rises a second of a counter."""
    return Query(rate(name, *matchers, by=by), f"{{{{{by}}}}}")


def quantiles(histogram: str, shares: tuple[float, ...], *matchers: str) -> Iterator[Query]:
    """A line for each quantile of a histogram: ``p50`` for 0.5."""
    return (Query(quantile(share, histogram, *matchers), f"p{share * 100:g}") for share in shares)
