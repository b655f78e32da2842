"""What an ingress counts of a candidate, and whose answer a correction is about."""

from dataclasses import replace

import numpy as np
import pytest
from front import LIVE

from deployments.canary.feedback import Feedback
from deployments.canary.paired_counts import PairedCounts
from deployments.errors import DeadlineExceeded, InferenceFailed, RequestError
from deployments.payloads import AGAIN, NO_CANDIDATE, FeedbackResult
from deployments.predictions import Outcome, Prediction

OTHER = replace(LIVE, version=4, digest="cd" * 32)
RENAMED = replace(OTHER, labels=("down", "POS"))


def outcome(positive: float = 0.9, seconds: float = 0.01, *, cached: bool = False) -> Outcome:
    scores = np.array([1 - positive, positive], dtype=np.float32)
    stages = {"queue": 0.0, "infer": seconds, "rpc": seconds}
    return Outcome(Prediction(scores, 5, False), cached, {} if cached else stages)


def observed(slow_ratio: float = 2.0, drift_step: float = 0.25) -> PairedCounts:
    return PairedCounts(slow_ratio, drift_step)


SAME, WORSE, BETTER = (0, 1, 0), (1, 0, 0), (0, 0, 1)
SHADOWS: list[tuple[Outcome | RequestError, dict[str, tuple[int, int, int]]]] = [
    (outcome(), {"errors": SAME, "latency": SAME, "agreement": SAME, "drift": SAME}),
    (outcome(0.6), {"errors": SAME, "latency": SAME, "agreement": SAME, "drift": WORSE}),
    (outcome(0.4), {"errors": SAME, "latency": SAME, "agreement": WORSE, "drift": WORSE}),
    (
        outcome(seconds=0.03),
        {"errors": SAME, "latency": WORSE, "agreement": SAME, "drift": SAME},
    ),
    (InferenceFailed("no"), {"errors": WORSE}),
    (DeadlineExceeded("late"), {"latency": WORSE}),
]


@pytest.mark.parametrize(("mine", "counts"), SHADOWS)
def test_a_shadow_is_compared_text_by_text(
    mine: Outcome | RequestError, counts: dict[str, tuple[int, int, int]]
) -> None:
    seen = observed()
    seen.shadow(LIVE, outcome(), OTHER, mine)
    assert seen.take(OTHER.digest) == {f"shadow.{name}": n for name, n in counts.items()}
    assert seen.take(OTHER.digest) == {}


def test_limits_are_settings() -> None:
    strict, loose = observed(1.1, 0.01), observed(9.0, 0.9)
    for seen, counts in ((strict, WORSE), (loose, SAME)):
        seen.shadow(LIVE, outcome(), OTHER, outcome(0.85, seconds=0.02))
        taken = seen.take(OTHER.digest)
        assert (taken["shadow.latency"], taken["shadow.drift"]) == (counts, counts)


def test_a_label_that_is_not_there_has_moved() -> None:
    seen = observed()
    seen.shadow(LIVE, outcome(0.1), RENAMED, outcome(0.1))
    assert seen.take(OTHER.digest)["shadow.drift"] == WORSE


def test_answers_from_a_cache_say_nothing() -> None:
    seen = observed()
    seen.shadow(LIVE, outcome(cached=True), OTHER, outcome())
    seen.answered(OTHER, LIVE, outcome(cached=True))
    seen.answered(OTHER, OTHER, outcome(cached=True))
    assert seen.take(OTHER.digest) == {}


def test_in_the_canary_each_text_of_the_challenger_meets_one_of_the_champion() -> None:
    seen = observed()
    for model, got in (
        (LIVE, outcome()),
        (LIVE, InferenceFailed("no")),
        (OTHER, outcome(seconds=1.0)),
        (OTHER, InferenceFailed("no")),
        (OTHER, outcome(seconds=1.0)),
        (LIVE, outcome(seconds=0.1)),
    ):
        seen.answered(OTHER, model, got)
    # The latest first: (1.0, failed), (failed, 0.01), (1.0, 0.1).
    assert seen.take(OTHER.digest) == {
        "challenger.errors": (1, 1, 1),
        "challenger.latency": (2, 1, 0),
    }


def test_another_challenger_begins_anew() -> None:
    seen = observed()
    seen.answered(OTHER, OTHER, outcome())
    third = replace(LIVE, version=5, digest="ef" * 32)
    seen.answered(third, LIVE, outcome())
    assert seen.take(OTHER.digest) == seen.take(third.digest) == {}


def test_candidates_that_nobody_asks_about_are_forgotten() -> None:
    seen = observed()
    for number in range(9):
        model = replace(OTHER, digest=f"{number:064x}")
        seen.shadow(LIVE, outcome(), model, outcome())
    assert seen.take(f"{0:064x}") == {}
    assert seen.take(f"{8:064x}")


def test_a_correction_counts_once_for_the_version_that_answered() -> None:
    feedback = Feedback(10, observed())
    feedback.remember("a", LIVE, "POS", "")
    assert feedback.judge("b", "POS") is None
    assert feedback.judge("a", "neutral") == FeedbackResult(3, ("NEG", "POS"), None, False)
    assert feedback.judge("a", " neg ") == FeedbackResult(
        3, ("NEG", "POS"), False, False, NO_CANDIDATE
    )
    assert feedback.judge("a", "NEG") == FeedbackResult(3, ("NEG", "POS"), False, True, AGAIN)


@pytest.mark.parametrize("late", [False, True])
def test_in_the_shadow_both_are_judged_by_one_correction(late: bool) -> None:
    seen = observed()
    feedback = Feedback(10, seen)
    for number, (mine, theirs) in enumerate([("POS", "NEG"), ("NEG", "POS"), ("NEG", "NEG")]):
        prediction = str(number)
        feedback.remember(prediction, LIVE, theirs, "")
        if not late:
            feedback.shadowed(prediction, OTHER.digest, mine)
        feedback.judge(prediction, "NEG")
        if late:
            feedback.shadowed(prediction, OTHER.digest, mine)
    assert seen.take(OTHER.digest) == {"shadow.accuracy": (1, 1, 1)}


def test_in_the_canary_a_judged_answer_of_each_makes_a_pair() -> None:
    seen = observed()
    feedback = Feedback(10, seen)
    for prediction, model, label in (("a", LIVE, "NEG"), ("b", OTHER, "POS"), ("c", OTHER, "NEG")):
        feedback.remember(prediction, model, label, OTHER.digest)
        feedback.judge(prediction, "NEG")
    assert seen.take(OTHER.digest) == {"challenger.accuracy": WORSE}


def test_only_so_many_answers_are_remembered() -> None:
    few, none = Feedback(2, observed()), Feedback(0, observed())
    for prediction in "abc":
        few.remember(prediction, LIVE, "POS", "")
        none.remember(prediction, LIVE, "POS", "")
    assert few.judge("a", "POS") is None
    assert few.judge("c", "POS") is not None
    assert none.judge("c", "POS") is None
