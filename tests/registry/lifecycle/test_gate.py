"""The gate is a pure function: every condition, and missing evidence refuses."""

import pytest

from registry.errors import InvalidValue
from registry.lifecycle.gate import Evidence, check_known_accuracy, evaluate_gate
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


@pytest.mark.parametrize(
    ("figures", "dataset", "passed"),
    [
        ((("accuracy", 0.896, "d1"),), None, True),
        ((("accuracy", 0.886, "d1"),), None, False),
        ((("accuracy", 0.886, "d2"),), None, True),
        ((("accuracy", 0.886, "d1"), ("accuracy", 0.91, "d1")), None, True),
        ((("macro_accuracy", 0.5, "d1"),), None, True),
        ((("accuracy", 0.886, "d1"),), "silver", True),
        ((("accuracy", 0.886, "d1"),), "gold", False),
        ((), None, True),
    ],
)
def test_what_is_known_of_accuracy_limits_a_release(
    figures: tuple[tuple[str, float, str], ...], dataset: str | None, passed: bool
) -> None:
    check = check_known_accuracy(evidence(2, *figures), CHAMPION, Policy(dataset=dataset))
    assert check.passed is passed
    if not passed:
        assert check.reason == (
            "accuracy 0.886 on gold, champion 1 has 0.9; a drop of 0.005 is allowed"
        )


def test_without_accuracy_the_mean_over_domains_is_compared() -> None:
    champion = evidence(1, ("macro_accuracy", 0.9, "d1"))
    assert not check_known_accuracy(
        evidence(2, ("macro_accuracy", 0.8, "d1")), champion, Policy()
    ).passed
