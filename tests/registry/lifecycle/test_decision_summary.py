"""What a version's description in the MLflow UI says of the last decision."""

from typing import Any

from registry.lifecycle.decision_summary import own_description, with_summary
from registry.records import Event

PASSED = {"checks": [{"name": "files", "passed": True, "reason": "whole"}]}


def event(seq: int, action: str, gate: dict[str, Any] | None = None, reason: str = "") -> Event:
    return Event(
        seq=seq,
        model="m",
        action=action,
        version=1,
        actor="ana",
        reason=reason,
        at_s=0.0,
        before={},
        after={},
        gate=gate or {},
        digest="",
        previous="",
        nonce="",
    )


def test_why_a_version_was_promoted_stays_beneath_its_rollback() -> None:
    text = with_summary("my words", event(1, "promote", PASSED))
    rolled_back = with_summary(text, event(2, "rollback", reason="too slow"))
    later = with_summary(rolled_back, event(3, "transition"))
    for said in (rolled_back, later):
        assert own_description(said) == "my words"
        assert said.count("| files | passed | whole |") == 1
        assert "promote by ana" in said
    assert rolled_back.index("rollback by ana") < rolled_back.index("promote by ana")
    assert "rollback" not in later


def test_a_new_gate_takes_the_place_of_the_last_one() -> None:
    text = with_summary("", event(1, "promote", PASSED))
    failed = {"checks": [{"name": "files", "passed": False, "reason": "cut"}]}
    text = with_summary(text, event(2, "transition", failed))
    assert "| files | **failed** | cut |" in text
    assert "passed | whole" not in text


def test_a_description_never_grows_beyond_what_mlflow_takes() -> None:
    text = with_summary("x" * 6_000, event(1, "promote", PASSED))
    for seq in range(2, 9):
        text = with_summary(text, event(seq, "hold", reason="y" * 1_000))
        assert len(text) <= 5_000
