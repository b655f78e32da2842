"""Whose turn it is, and when a job will be done: shares, ageing, honest estimates."""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.jobs.records import PRIORITIES, JobBacklog, Priority, Waiting
from deployments.jobs.scheduler import WEIGHTS, StrideScheduler, Throughput, seconds_left

NEVER = 1e12


def schedule(
    turns: StrideScheduler, jobs: dict[str, Priority], rounds: int, step_s: float
) -> list[str]:
    """Who got each of so many turns, when every job always has a chunk."""
    since = dict.fromkeys(jobs, -1.0)
    order = []
    for number in range(rounds):
        now_s = number * step_s
        waiting = [Waiting(job, jobs[job], since[job], 100) for job in jobs]
        chosen = turns.pick(waiting, now_s).job_id
        since[chosen] = now_s
        order.append(chosen)
    return order


priorities = st.sampled_from(PRIORITIES)


@given(st.lists(priorities, min_size=1, max_size=12))
def test_backlogged_priorities_share_by_weight_and_their_jobs_evenly(asked: list[Priority]) -> None:
    jobs = {f"{i:02}": priority for i, priority in enumerate(asked)}
    present = set(asked)
    weights = sum(WEIGHTS[priority] for priority in present)
    rounds = 21 * 12 * 4
    order = schedule(StrideScheduler(NEVER), jobs, rounds, 1.0)
    for priority in present:
        mine = [job for job in jobs if jobs[job] == priority]
        counts = [order.count(job) for job in mine]
        assert abs(sum(counts) - rounds * WEIGHTS[priority] / weights) <= 2
        assert max(counts) - min(counts) <= 1


@given(st.lists(priorities, min_size=1, max_size=10), st.floats(0.5, 50))
def test_nobody_waits_longer_than_ageing_allows(asked: list[Priority], ageing_s: float) -> None:
    jobs = {f"{i:02}": priority for i, priority in enumerate(asked)}
    order = schedule(StrideScheduler(ageing_s), jobs, 600, 1.0)
    # Twice risen it is high, and the longest waiting there; others that have waited as long may be
    # before it, and for every turn of high the other two have at most their shares.
    bound = 2 * ageing_s + 2 * len(jobs) + 4
    for job in jobs:
        turns = [-1, *(i for i, who in enumerate(order) if who == job), 600]
        assert max(b - a for a, b in itertools.pairwise(turns)) <= bound


@given(st.lists(st.tuples(st.sampled_from("abc"), priorities), min_size=1, max_size=12))
def test_callers_share_alike_whatever_they_call_urgent(asked: list[tuple[str, Priority]]) -> None:
    turns = StrideScheduler(NEVER)
    got: Counter[str] = Counter()
    for number in range(240):
        waiting = [
            Waiting(f"{i:02}", priority, -1.0, 100, owner)
            for i, (owner, priority) in enumerate(asked)
        ]
        got[turns.pick(waiting, number).owner] += 1
    assert max(got.values()) - min(got[owner] for owner, _ in asked) <= 1


def test_the_jobs_of_others_delay_one_by_its_own_length_at_most() -> None:
    mine = JobBacklog("mine", "low", 100, "me")
    others = [JobBacklog(f"{i}", "high", 10_000, "hog") for i in range(50)]
    assert seconds_left("mine", [mine, *others], 100) == pytest.approx(2)
    assert seconds_left("mine", [mine, JobBacklog("b", "high", 30, "b")], 100) == pytest.approx(1.3)


def test_a_high_job_behind_many_low_ones_is_next() -> None:
    turns = StrideScheduler(60)
    low = [Waiting(f"{i:03}", "low", 0, 100) for i in range(200)]
    for now_s in range(20):
        turns.pick(low, now_s)
    assert turns.pick([*low, Waiting("urgent", "high", 20, 100)], 20).job_id == "urgent"


def test_who_was_away_has_saved_up_no_turns() -> None:
    turns = StrideScheduler(NEVER)
    for now_s in range(1_000):
        turns.pick([Waiting("a", "high", 0, 100)], now_s)
    jobs: dict[str, Priority] = {"a": "high", "b": "low"}
    assert schedule(turns, jobs, 34, 1.0).count("b") <= 3


loads = st.lists(st.tuples(priorities, st.integers(1, 5_000)), min_size=1, max_size=5)


@settings(max_examples=50, deadline=None)
@given(loads, st.floats(1, 5_000))
def test_the_estimate_is_what_the_schedule_does(
    asked: list[tuple[Priority, int]], texts_per_s: float
) -> None:
    rows = [JobBacklog(f"{i:02}", priority, texts) for i, (priority, texts) in enumerate(asked)]
    left = {row.job_id: seconds_left(row.job_id, rows, texts_per_s) for row in rows}
    chunk = max(1, sum(row.texts for row in rows) // 3_000)
    real = simulated(rows, texts_per_s, chunk)
    total_s = sum(row.texts for row in rows) / texts_per_s
    assert max(left.values()) == pytest.approx(total_s)  # type: ignore[type-var]
    for job_id, seconds in left.items():
        # The fluid limit but for whole chunks: low has one turn in 21, and a job one of those.
        slack_s = len(rows) * (sum(WEIGHTS.values()) + 3) * chunk / texts_per_s
        assert seconds == pytest.approx(real[job_id], abs=slack_s)


def simulated(rows: list[JobBacklog], texts_per_s: float, chunk: int) -> dict[str, float]:
    """The schedule itself in small chunks, without ageing."""
    turns = StrideScheduler(NEVER)
    left = {row.job_id: row.texts for row in rows}
    since = dict.fromkeys(left, -1.0)
    ends: dict[str, float] = {}
    now_s = 0.0
    while left:
        waiting = [
            Waiting(row.job_id, row.priority, since[row.job_id], min(chunk, left[row.job_id]))
            for row in rows
            if row.job_id in left
        ]
        job = turns.pick(waiting, now_s).job_id
        size = min(chunk, left[job])
        now_s += size / texts_per_s
        since[job] = now_s
        left[job] -= size
        if not left[job]:
            del left[job]
            ends[job] = now_s
    return ends


def test_nothing_is_estimated_before_a_pace_is_known() -> None:
    rows = [JobBacklog("a", "low", 100)]
    assert seconds_left("a", rows, None) is None
    assert seconds_left("b", rows, 100.0) is None


def test_the_pace_is_that_of_the_busy_time_of_the_last_minute() -> None:
    pace = Throughput()
    assert pace.texts_per_s is None
    pace.add(0, 10, 1)  # long ago
    pace.add(100, 102, 100)
    pace.add(101, 103, 100)
    pace.add(143, 144, 200)
    assert pace.texts_per_s == 100
