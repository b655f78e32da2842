"""The PromQL expressions of the panels.

Every series carries the chosen namespace and stands before a brace, by which ``series_in`` finds
the names that an expression selects.
"""

import re

SCOPE = 'namespace=~"$namespace"'
RATE_WINDOW = "$__rate_interval"
# Values for an expression that is evaluated without Grafana.
PLAIN_VALUES = {"$__rate_interval": "1m", "$namespace": ".*", "$deployment": ".*"}
_SELECTED = re.compile(r"([a-zA-Z_:][\w:]*)\{")


def series(name: str, *matchers: str) -> str:
    """A selector; ``matchers`` such as ``level="l1"`` narrow it."""
    return f"{name}{{{','.join((SCOPE, *matchers))}}}"


def rate(name: str, *matchers: str, by: str = "") -> str:
    """Rises a second of a counter, summed over replicas; ``by`` keeps labels apart."""
    return _summed(f"rate({series(name, *matchers)}[{RATE_WINDOW}])", by)


def total(name: str, *matchers: str, by: str = "") -> str:
    """A gauge summed over replicas."""
    return _summed(series(name, *matchers), by)


def rose(name: str, *matchers: str, by: str = "") -> str:
    """By how much a counter rose in the time range that is shown, over all replicas."""
    return _summed(f"increase({series(name, *matchers)}[$__range])", by)


def quantile(share: float, histogram: str, *matchers: str, by: str = "") -> str:
    """An estimated quantile of a histogram over all replicas."""
    kept = f"le,{by}" if by else "le"
    return f"histogram_quantile({share:g}, {rate(f'{histogram}_bucket', *matchers, by=kept)})"


def mean(histogram: str, *matchers: str, by: str = "") -> str:
    """The mean of what a histogram observed."""
    over = rate(f"{histogram}_sum", *matchers, by=by)
    return f"{over} / {rate(f'{histogram}_count', *matchers, by=by)}"


def share(part: str, whole: str) -> str:
    """``part`` of ``whole``; 0 where nothing was counted as a part."""
    return f"({part} or vector(0)) / {whole}"


def or_zero(expression: str) -> str:
    """0 where there is no such series yet, because what it counts has not happened."""
    return f"{expression} or vector(0)"


def series_in(expression: str) -> set[str]:
    """Names of the series that an expression selects."""
    return set(_SELECTED.findall(expression))


def without_grafana(expression: str, window: str = "1m", span: str = "10m") -> str:
    """The expression with every namespace, and times in place of Grafana's own variables."""
    for name, value in {**PLAIN_VALUES, RATE_WINDOW: window, "$__range": span}.items():
        expression = expression.replace(name, value)
    return expression


def _summed(expression: str, by: str) -> str:
    return f"sum by ({by}) ({expression})" if by else f"sum({expression})"
