"""Figures of a run against values counted by hand."""

import pytest

from benchmarks.comparison.metrics import figures, percentile
from benchmarks.loadgen.client import Outcome


def answered(due_s: float, done_s: float, status: int = 200, cached: bool = False) -> Outcome:
    return Outcome(due_s, sent_s=due_s, done_s=done_s, status=status, cached=cached)


def test_percentile_is_a_value_that_was_seen() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.50) == 50.0
    assert percentile(values, 0.99) == 99.0
    assert percentile(values, 1.0) == 100.0
    assert percentile([3.0, 1.0], 0.5) == 1.0
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.5) is None


def test_rates_count_what_was_done_in_the_window() -> None:
    outcomes = [answered(0.0, 0.05), answered(0.5, 0.7), answered(1.8, 1.85), answered(1.9, 2.5)]
    found = figures(outcomes, window_s=2.0, ended_s=2.5)
    assert found.ok == 4
    assert found.throughput_per_s == 1.5  # the last came after the window
    assert found.goodput_per_s == 1.0  # and the second took 200 ms
    assert found.p50_ms == pytest.approx(50.0)
    assert found.p99_ms == pytest.approx(600.0)


def test_latency_runs_from_the_due_time_and_a_refusal_from_sending() -> None:
    late = Outcome(due_s=0.0, sent_s=0.4, done_s=0.5, status=200)
    refused = Outcome(due_s=0.0, sent_s=0.4, done_s=0.41, status=429)
    found = figures([late, refused], window_s=1.0, ended_s=1.0)
    assert found.p50_ms == pytest.approx(500.0)
    assert found.goodput_per_s == 0.0
    assert found.refusal_p99_ms == pytest.approx(10.0)


def test_each_outcome_is_counted_once() -> None:
    outcomes = [
        answered(0.0, 0.01, cached=True),
        answered(0.0, 0.01, status=429),
        answered(0.0, 0.01, status=503),
        answered(0.0, 0.01, status=500),
        answered(0.0, 0.01, status=0),
        Outcome(due_s=0.0, sent_s=0.0),
    ]
    found = figures(outcomes, window_s=1.0, ended_s=4.0)
    assert (found.requests, found.ok, found.cached) == (6, 1, 1)
    assert (found.shed, found.errors, found.unanswered) == (2, 2, 1)
    assert found.ok + found.shed + found.errors + found.unanswered == found.requests


def test_who_never_answered_does_not_improve_the_percentiles() -> None:
    answers = [answered(0.0, 0.01) for _ in range(9)]
    hung = Outcome(due_s=1.0, sent_s=1.0)
    assert figures([*answers, hung], window_s=2.0, ended_s=7.0).p99_ms == pytest.approx(6_000.0)


def test_nothing_answered_has_no_latency() -> None:
    found = figures([answered(0.0, 0.1, status=503)], window_s=1.0, ended_s=1.0)
    assert (found.p50_ms, found.p99_ms, found.throughput_per_s) == (None, None, 0.0)
