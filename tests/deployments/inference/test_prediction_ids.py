import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.inference.prediction_ids import PredictionIds

IDS = PredictionIds("secret")
MODEL = "ab" * 32


@given(
    version=st.integers(1, 100_000),
    label=st.integers(0, 1_000),
    score=st.floats(0, 1),
    at_ms=st.integers(0, 2**42 - 1),
)
def test_an_id_says_what_it_was_made_of(version: int, label: int, score: float, at_ms: int) -> None:
    number = IDS.repeatable(at_ms, ("a", "b"), (MODEL, version), label, score)
    assert str(uuid.UUID(number)) == number
    assert uuid.UUID(number).version == 8
    found = IDS.read(number, [MODEL])
    assert found is not None
    assert (found.at_s, found.label) == (at_ms / 1_000, min(label, 255))
    assert found.is_of(MODEL, version)
    assert not found.is_of("ef" * 32, version)
    assert abs(found.score - score) <= 1 / 126


def test_ids_are_new_each_time_and_repeatable_ones_are_not() -> None:
    made = {IDS.make((MODEL, 3), 1, 0.9) for _ in range(10_000)}
    assert len(made) == 10_000
    first = IDS.read(min(made), [MODEL])
    assert first is not None
    assert abs(first.at_s - time.time()) < 60
    one = IDS.repeatable(1_000, ("id", "text"), (MODEL, 3), 1, 0.9)
    assert one == IDS.repeatable(1_000, ("id", "text"), (MODEL, 3), 1, 0.9)
    assert one != IDS.repeatable(1_000, ("id", "text2"), (MODEL, 3), 1, 0.9)
    assert one != IDS.repeatable(1_001, ("id", "text"), (MODEL, 3), 1, 0.9)


@given(st.integers(0, 121))
def test_any_changed_bit_is_told(bit: int) -> None:
    value = uuid.UUID(IDS.make((MODEL, 3), 1, 0.9)).int
    position = bit if bit < 62 else bit + 2 if bit < 74 else bit + 6
    assert IDS.read(str(uuid.UUID(int=value ^ 1 << position)), [MODEL]) is None


@pytest.mark.parametrize(
    "other", ["0b0f7f0e-6f2c-4d0a-9d9e-3f0d5b1c2a4e", "no id", "", str(uuid.UUID(int=0))]
)
def test_what_was_not_made_here_is_none(other: str) -> None:
    assert IDS.read(other, [MODEL]) is None


def test_a_new_key_refuses_the_old_ids_unless_it_is_named() -> None:
    number = IDS.make((MODEL, 3), 1, 0.9)
    assert PredictionIds("other").read(number, [MODEL]) is None
    assert PredictionIds("other", "secret").read(number, [MODEL]) is not None
    assert (
        PredictionIds("other", "").read(PredictionIds("").make((MODEL, 3), 1, 0.9), [MODEL]) is None
    )
