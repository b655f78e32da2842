"""The gate is a pure function: every condition, and missing evidence refuses."""

import pytest

from registry.errors import InvalidValue
from registry.lifecycle.gate import Evidence, evaluate_gate
from registry.policy import MetricRule, Policy, parse_policy
from registry.records import Measurement

LABELS = ("NEG", "POS")


def evidence(
    version: int,
    *figures: tuple[str, float, str],
    labels: tuple[str, ...] = LABELS,
    digest: str = "ab" * 32,
) -> Evidence:
    measured = [
        Measurement(m, value, "gold", data, i) for i, (m, value, data) in enumerate(figures)
    ]
    return Evidence(version, labels, digest, measured)


def failed(candidate: Evidence, champion: Evidence | None, **rule: object) -> list[str]:
    rules = (MetricRule.model_validate({"metric": "accuracy", **rule}),) if rule else ()
    report = evaluate_gate(candidate, champion, Policy(rules=rules))
    assert report.passed == all(check.passed for check in report.checks)
    return [check.name for check in report.checks if not check.passed]


CHAMPION = evidence(1, ("accuracy", 0.90, "d1"))


@pytest.mark.parametrize(
    ("value", "rule", "expected"),
    [
        (0.80, {"threshold": 0.8}, []),
        (0.79, {"threshold": 0.8}, ["accuracy threshold"]),
        (0.79, {"threshold": 0.8, "higher_is_better": False}, []),
        (0.81, {"threshold": 0.8, "higher_is_better": False}, ["accuracy threshold"]),
        (0.91, {"min_gain": 0.01}, []),
        (0.905, {"min_gain": 0.01}, ["accuracy gain"]),
        (0.89, {"max_regression": 0.01}, []),
        (0.88, {"max_regression": 0.01}, ["accuracy regression"]),
        (0.95, {"max_regression": 0.01, "higher_is_better": False}, ["accuracy regression"]),
        (0.88, {"min_gain": 0.01, "higher_is_better": False}, []),
    ],
)
def test_thresholds_gains_and_regressions(value, rule, expected):
    assert failed(evidence(2, ("accuracy", value, "d1")), CHAMPION, **rule) == expected


def test_missing_evidence_refuses():
    assert failed(evidence(2), CHAMPION, threshold=0.5) == ["accuracy"]
    other_data = evidence(2, ("accuracy", 0.99, "d2"))
    assert failed(other_data, CHAMPION, min_gain=0.0) == ["accuracy against champion"]
    untold_data = evidence(2, ("accuracy", 0.99, ""))
    assert failed(untold_data, evidence(1, ("accuracy", 0.9, "")), min_gain=0.0) == [
        "accuracy against champion"
    ]
    assert failed(evidence(2, ("accuracy", 0.9, "d1")), CHAMPION, threshold=0.5, dataset="x") == [
        "accuracy"
    ]
    assert failed(evidence(2, digest=""), None) == ["files"]


def test_the_newest_figure_counts_and_a_common_dataset_is_found():
    candidate = evidence(
        2, ("accuracy", 0.1, "d1"), ("accuracy", 0.95, "d1"), ("accuracy", 1, "d9")
    )
    assert failed(candidate, CHAMPION, threshold=0.9, min_gain=0.05) == []


def test_the_label_set_stays():
    assert failed(evidence(2, labels=("POS", "NEG")), CHAMPION) == []
    assert failed(evidence(2, labels=("NEG", "POS", "NEUTRAL")), CHAMPION) == ["labels"]
    free = evaluate_gate(evidence(2, labels=("A", "B")), CHAMPION, Policy(same_labels=False))
    assert free.passed
    assert failed(evidence(2, labels=("A", "B")), None) == []


@pytest.mark.parametrize(
    "text", ["{", '{"rules": 1}', '{"rules": [{"metric": "a"}]}', '{"unknown": 1}']
)
def test_a_policy_that_cannot_be_read_is_an_error_and_not_an_empty_one(text):
    with pytest.raises(InvalidValue, match="policy cannot be read"):
        parse_policy(text)


def test_no_policy_is_the_default_one():
    assert parse_policy("") == Policy()
    assert parse_policy(Policy(approvals=1).model_dump_json()).approvals == 1
