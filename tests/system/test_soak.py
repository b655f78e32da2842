"""The arithmetic of ``make soak``: a leak is found, noise and a warm-up are not."""

import itertools
import math

from tests.system.soak import LIMITS, Series, verdicts

HOUR = 3_600.0


def broken(series: Series, lasted_s: float = 2 * HOUR) -> set[tuple[str, str]]:
    return {(row["process"], row["what"]) for row in verdicts(series, lasted_s) if row["broken"]}


def points(value_at: object, lasted_s: float = 2 * HOUR) -> list[tuple[float, float]]:
    assert callable(value_at)
    return [(at, float(value_at(at))) for at in range(0, int(lasted_s), 60)]


def test_a_leak_is_found_and_a_warm_up_is_not() -> None:
    found = broken(
        {
            ("leaks", "memory_mb"): points(lambda at: 200 + 20 * at / HOUR),
            ("warms up", "memory_mb"): points(lambda at: 200 + min(100, at)),
            ("breathes", "memory_mb"): points(lambda at: 200 + 10 * math.sin(at / 300)),
            ("shrinks", "memory_mb"): points(lambda at: 300 - 50 * at / HOUR),
            ("forgets to close", "files"): points(lambda at: 40 + 30 * at / HOUR),
            ("state folder", "disk_mb"): points(lambda at: 100 + 100 * at / HOUR),
        }
    )
    assert found == {("leaks", "memory_mb"), ("forgets to close", "files")}


def test_a_steep_slope_of_a_few_minutes_is_noise() -> None:
    few = points(lambda at: 200 + 60 * at / HOUR, 600)
    assert broken({("young", "memory_mb"): few}, 600) == set()


def test_steps_and_steady_growth_are_told_apart_by_their_course() -> None:
    series: Series = {
        ("steps", "memory_mb"): points(lambda at: 200 + 50 * (at > HOUR)),
        ("leaks", "memory_mb"): points(lambda at: 200 + 25 * at / HOUR),
    }
    courses = {row["process"]: row["course"] for row in verdicts(series, 2 * HOUR)}
    steps = [after - before for before, after in itertools.pairwise(courses["steps"])]
    grows = [after - before for before, after in itertools.pairwise(courses["leaks"])]
    assert sum(step > 1 for step in steps) <= 2
    assert min(grows) > 1


def test_a_process_that_came_late_has_no_slope() -> None:
    late = [(at, value) for at, value in points(lambda at: at) if at > HOUR]
    assert verdicts({("late", "memory_mb"): late}, 2 * HOUR) == []


def test_every_series_has_a_limit() -> None:
    assert set(LIMITS) == {"memory_mb", "files", "threads", "disk_mb"}
