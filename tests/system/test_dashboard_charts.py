"""Values and colours as Grafana shows them."""

import pytest

from monitoring.panels import Panel, Query
from tests.system.dashboard_charts import colour, shown


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "percentunit", "1.23 %"),
        (0.0456, "s", "45.6 ms"),
        (2.5, "s", "2.5 s"),
        (1_500.0, "ms", "1.5 s"),
        (12_300.0, "bytes", "12.3 kB"),
        (7.0, "reqps", "7 /s"),
        (3.0, "short", "3"),
    ],
)
def test_a_value_is_shown_with_its_unit(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text


def test_limits_colour_a_number() -> None:
    query = (Query("up{}"),)
    rising = Panel("a", "b.", query, limits=(1.0, 2.0))
    assert len({colour(rising, value) for value in (0.5, 1.5, 2.5)}) == 3
    low_is_bad = Panel("a", "b.", query, limits=(1.0, 2.0), low_is_bad=True)
    assert colour(low_is_bad, 0.5) == colour(rising, 2.5)
    assert colour(Panel("a", "b.", query), 9.0) not in {colour(rising, v) for v in (0.5, 2.5)}
