"""What two versions' scores have in common, by kind of head, and which labels apply."""

import dataclasses

import numpy as np
import pytest
from front import LIVE

from configs.schema.registry import RolloutConfig
from deployments.model.runner import scores_of
from deployments.payloads import Probe
from deployments.predictions import agree, applying
from deployments.rollout.acceptance import GOLDEN_TEXTS, rejection_reason
from deployments.versions import ServedVersion
from registry.records import Head

ONE = Head()
MANY = Head("multi_label", "sigmoid", (0.5, 0.5))
VALUES = Head("regression", "none")
Scored = tuple[ServedVersion, np.ndarray]


def version(head: Head, *labels: str) -> ServedVersion:
    return dataclasses.replace(LIVE, head=head, labels=labels)


def row(*scores: float) -> np.ndarray:
    return np.array(scores, dtype=np.float32)


@pytest.mark.parametrize(
    ("mine", "theirs", "same", "moved"),
    [
        ((version(ONE, "a", "b"), row(0.9, 0.1)), (version(ONE, "b", "a"), row(0.2, 0.8)), 1, 0.1),
        ((version(ONE, "a", "b"), row(0.9, 0.1)), (version(ONE, "c", "b"), row(0.2, 0.8)), 0, 1),
        # The highest is the same, the labels that apply are not.
        (
            (version(MANY, "a", "b"), row(0.9, 0.6)),
            (version(MANY, "a", "b"), row(0.9, 0.4)),
            0,
            0.2,
        ),
        (
            (version(MANY, "a", "b"), row(0.3, 0.1)),
            (version(MANY, "b", "a"), row(0.2, 0.4)),
            1,
            0.1,
        ),
        ((version(MANY, "a", "b"), row(0.9, 0.1)), (version(ONE, "a", "b"), row(0.9, 0.1)), 0, 1),
        ((version(VALUES, "a"), row(-400)), (version(VALUES, "a"), row(-402)), 1, 0.005),
        ((version(VALUES, "a"), row(0.5)), (version(VALUES, "a"), row(0.9)), 0, 0.4),
        ((version(VALUES, "a", "b"), row(5, 1)), (version(VALUES, "a", "c"), row(5, 1)), 0, 1),
    ],
)
def test_agreement(mine: Scored, theirs: Scored, same: int, moved: float) -> None:
    found, apart = agree(*mine, *theirs, 0.2)
    assert found == bool(same)
    assert apart == pytest.approx(moved, abs=1e-6)


def test_a_score_at_its_threshold_applies() -> None:
    head = Head("multi_label", "sigmoid", (0.5, 0.1, 0.0))
    assert applying(head, {"a": 0.5, "b": 0.099999, "c": 0.0}) == ["a", "c"]
    assert applying(Head(), {"a": 1.0, "b": 0.0}) is None


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_a_row_that_is_not_finite_has_no_scores_and_spoils_no_other(activation: str) -> None:
    task = {"softmax": "single_label", "sigmoid": "multi_label", "none": "regression"}[activation]
    head = Head(task, activation)  # type: ignore[arg-type]
    logits = np.array([[1e4, -1e4], [np.inf, 0], [0, np.nan]], dtype=np.float32)
    scores = scores_of(logits, head)
    assert np.isfinite(scores[0]).all()
    assert np.isnan(scores[1:]).all()
    assert scores.dtype == np.float32


@pytest.mark.parametrize(
    ("head", "scores", "reason"),
    [
        (MANY, (0.9, 0.8), None),
        (MANY, (0.9, 1.8), "scores are no probabilities"),
        (Head(), (0.9, 0.8), "scores are no probabilities"),
        (VALUES, (-3.0, 250.0), None),
        (VALUES, (-3.0, np.nan), "scores are no numbers"),
    ],
)
def test_golden_scores_are_judged_by_their_head(
    head: Head, scores: tuple[float, float], reason: str | None
) -> None:
    probe = Probe(np.tile(row(*scores), (len(GOLDEN_TEXTS), 1)), 0.01)
    both = version(head, "a", "b")
    limits = RolloutConfig()
    assert rejection_reason(both, [probe], both, [probe], limits, answers=True) == reason


def test_a_candidate_whose_labels_no_longer_apply_is_rejected() -> None:
    both = version(MANY, "a", "b")
    mine = Probe(np.tile(row(0.9, 0.1), (len(GOLDEN_TEXTS), 1)), 0.01)
    theirs = Probe(np.tile(row(0.9, 0.7), (len(GOLDEN_TEXTS), 1)), 0.01)
    reason = rejection_reason(both, [mine], both, [theirs], RolloutConfig(), answers=True)
    assert reason is not None
    assert "agrees with the champion on 0 of the golden texts" in reason
