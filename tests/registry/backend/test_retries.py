"""A lost race is repeated with pauses, and at last reported."""

import pytest

from registry.backend import retries
from registry.backend.retries import retried
from registry.errors import Conflict, EntryTaken


def test_pauses_grow_to_a_limit_and_the_last_failure_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", pauses.append)
    monkeypatch.setattr(retries.random, "uniform", lambda _, longest: longest)
    calls = 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        raise EntryTaken(f"call {calls}")

    with pytest.raises(EntryTaken, match="call 8"):
        retried(fail, attempts=8)
    assert pauses == [0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.25]


def test_only_a_lost_race_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries.time, "sleep", lambda _: None)
    outcomes: list[Exception | str] = [EntryTaken("lost"), "won", Conflict("changed")]

    def attempt() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert retried(attempt) == "won"
    with pytest.raises(Conflict, match="changed"):
        retried(attempt)
