"""`sentigraph models policy`, `delete` and `restore`."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.__main__ import main
from cli.models.policy import SET_EXAMPLES
from registry.model_registry import ModelRegistry

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path) -> list[str]:
    place = [
        *("--tracking-uri", f"sqlite:///{tmp_path / 'mlflow.db'}"),
        *("--artifact-root", str(tmp_path / "artifacts"), "--actor", "ana"),
    ]
    registry = ModelRegistry(place[1], place[3])
    registry.catalog.create_model("sentiment", "", actor="ana")
    return place


def test_every_example_of_the_help_changes_what_it_names(
    place: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    examples = [line.split()[1:] for line in SET_EXAMPLES.splitlines()[1:]]
    for words in examples[:-1]:
        assert main([*words, *place]) == 0
    capsys.readouterr()
    assert main(["models", "policy", "show", "sentiment", "--json", *place]) == 0
    policy = json.loads(capsys.readouterr().out)
    assert policy["approvals"] == 1
    assert policy["dataset"] == "reviews"
    assert policy["same_labels"] is True
    assert policy["release"]["min_feedback"] == 4000
    assert policy["release"]["canary_weights"] == [0.05, 0.5]
    rules = {rule["metric"]: rule for rule in policy["rules"]}
    assert rules["accuracy"]["min_gain"] == 0.001
    assert rules["ece"]["higher_is_better"] is False
    assert main([*examples[-1], *place]) == 0
    shown = capsys.readouterr().out
    assert "rule accuracy" not in shown
    assert "rule ece" in shown
    assert "A second actor" not in shown
    assert "1: a second actor must approve" in shown


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "nothing to set"),
        (("approval=1",), "is not FIELD=VALUE; fields: same_labels, approvals, dataset, release."),
        (("approvals=2",), "approvals: Input should be less than or equal to 1"),
        (("release.canary_weights=0.5,0.1",), "do not grow"),
        (("--rule", "accuracy"), "a rule needs a threshold"),
        (("--rule", "accuracy,gain=1"), "is none of higher, lower, dataset="),
        (("--drop-rule", "f1"), "there is no rule 'f1'; rules: none"),
    ],
)
def test_what_is_wrong_is_named(
    place: list[str], capsys: pytest.CaptureFixture[str], words: tuple[str, ...], problem: str
) -> None:
    assert main(["models", "policy", "set", "sentiment", *words, *place]) == 1
    assert problem in capsys.readouterr().err


def test_a_deletion_has_a_reason_and_an_undo(
    place: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: str) -> Any:
        assert main(["models", *words, "--json", *place]) == 0
        return json.loads(capsys.readouterr().out)

    bundle = str(Path(__file__).parents[2] / "models" / "sentiment")
    told("import", bundle, "--name", "sentiment")
    assert main(["models", "delete", "sentiment", "1", *place]) == 1
    assert "a deletion needs a --reason" in capsys.readouterr().err
    undo = told("delete", "sentiment", "1", "--reason", "a try")["undo"].split()[2:]
    assert told("show", "sentiment") == []
    assert told(*undo)["version"] == 1
    undo = told("delete", "sentiment", "--reason", "all of it")["undo"].split()[2:]
    assert told("list") == []
    assert [version["version"] for version in told(*undo)] == [1]
    assert [event["action"] for event in told("audit", "sentiment")][:2] == [
        "restore_model",
        "delete_model",
    ]


def test_an_empty_registry_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert main(["models", "list", "--tracking-uri", uri, "--artifact-root", str(tmp_path)]) == 0
    assert "the registry is empty: `sentigraph serve`" in capsys.readouterr().err
