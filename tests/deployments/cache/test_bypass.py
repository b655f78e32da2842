"""Level two is asked while it pays, and asked again now and then when it does not."""

import itertools

from deployments.cache.bypass import BreakEven


def look_ups(even: BreakEven, hops: int, hits: int) -> int:
    """Micro-batches of 10 texts that were looked up, each with so many hits."""
    looked = 0
    for _ in range(hops):
        if even.pays():
            looked += 1
            even.looked_up(10, hits, 0.004)
        even.inferred(0.004)
    return looked


def test_a_level_that_never_hits_is_left_alone_but_for_a_probe() -> None:
    even = BreakEven(itertools.count().__next__)
    look_ups(even, 50, hits=0)
    assert look_ups(even, 160, hits=0) == 10
    # 0.4 ms per text against 4 ms of inference: one hit in ten pays.
    assert abs(even.ratio - 0.1) < 1e-6


def test_a_level_that_pays_is_asked_each_time_and_found_again() -> None:
    even = BreakEven(itertools.count().__next__)
    assert look_ups(even, 100, hits=5) == 100
    look_ups(even, 100, hits=0)
    look_ups(even, 160, hits=9)
    assert look_ups(even, 100, hits=9) == 100


def test_probes_of_single_texts_are_not_more_frequent_than_their_pause() -> None:
    now = 0.0
    even = BreakEven(lambda: now)
    look_ups(even, 50, hits=0)
    asked = 0
    for _ in range(1_000):
        now += 0.001
        asked += even.pays()
    assert asked == 4
