"""Calibration and figures for each kind of head, on tiny models of every kind."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from head_models import TEXTS, bundle_of, expected

from cli.__main__ import main
from deployments.model.engines import open_engine
from deployments.model.runner import LoadedModel, sigmoid
from deployments.tokenizer.replica import token_ids
from pipelines.evaluation.head_figures import of_labels, of_values
from pipelines.evaluation.metrics import binary_calibration_error
from pipelines.evaluation.temperature import fit_label_temperature
from registry.bundles.bundle import open_bundle, rewrite_bundle, write_bundle
from registry.errors import InvalidBundle
from registry.model_registry import ModelRegistry
from registry.records import Bundle, Head


def served(bundle: Bundle, text: str) -> dict[str, float]:
    ids = token_ids(bundle, [text])
    scores = LoadedModel(bundle, open_engine(bundle)).score([np.array(ids[0], dtype=np.int32)])
    return dict(zip(bundle.labels, scores[0].tolist(), strict=True))


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_each_labels_temperature_is_the_one_its_truth_was_drawn_with() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(scale=4, size=20_000).astype(np.float32)
    for wanted in (0.5, 1.0, 3.0):
        truth = random.random(len(logits)) < sigmoid(logits / np.float32(wanted))
        found = fit_label_temperature(logits, truth)
        assert found == pytest.approx(wanted, rel=0.05)
        assert binary_calibration_error(sigmoid(logits / np.float32(found)), truth) < 0.02
    assert fit_label_temperature(logits, np.ones(len(logits), dtype=np.bool_)) == 1.0


def test_the_gap_of_a_labels_probability_and_frequency_by_hand() -> None:
    # Four at 0.9 of which three apply, two at 0.1 of which one does: 4/6 * 0.15 + 2/6 * 0.4.
    scores, truth = np.array([0.9] * 4 + [0.1] * 2), np.array([1, 1, 1, 0, 1, 0]) > 0
    assert binary_calibration_error(scores, truth) == pytest.approx(0.1 + 0.4 / 3)


@pytest.mark.parametrize("name", ["softmax", "binary", "multi_label", "one_label"])
def test_a_calibrated_bundle_serves_what_was_fitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    figures = {"macro_accuracy": 0.9, "ece": 0.03, "temperature": 0.7}
    bundle = rewrite_bundle(
        bundle_of(name, tmp_path), tmp_path / "measured", temperature=1.0, metrics=figures
    )
    several = bundle.head.task == "multi_label"
    rows = []
    for at, text in enumerate(TEXTS * 2):
        # Every third time another label than the model would say, so that it is too sure.
        scores = expected(bundle, text)
        given = [each for each in scores if (scores[each] > 0.5) != (at % 3 == 0)]
        best = max(scores, key=scores.__getitem__) if at % 3 else bundle.labels[0]
        rows.append({"text": text, "label": given if several else best})
    data = write(tmp_path / "data.jsonl", rows)
    given = ["calibrate", str(bundle.directory), "--data", str(data), "--out", str(tmp_path / "c")]
    assert main([*given, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    made = open_bundle(tmp_path / "c")
    if several:
        assert facts["temperature"] == dict(zip(made.labels, made.head.temperatures, strict=True))
        assert any(each != 1 for each in made.head.temperatures)
        assert (made.temperature, made.head.thresholds) == (1.0, bundle.head.thresholds)
    else:
        assert facts["temperature"] == made.temperature != 1
    # Figures of the temperature before would be wrong of this one.
    assert made.metrics == ({"macro_accuracy": 0.9} if name == "softmax" else {})
    moved = 0.0
    for text in TEXTS:
        before, after = served(bundle, text), served(made, text)
        assert before == pytest.approx(expected(bundle, text), abs=1e-5)
        moved = max(moved, *(abs(after[each] - before[each]) for each in before))
        for label, t in zip(made.labels, made.head.temperatures, strict=several):
            if 1e-4 < before[label] < 1 - 1e-4:
                odds = np.log(before[label] / (1 - before[label])) / t
                assert after[label] == pytest.approx(1 / (1 + np.exp(-odds)), abs=2e-3)
        if not several:
            assert max(after, key=after.__getitem__) == max(before, key=before.__getitem__)
    assert moved > 1e-3


@pytest.mark.parametrize("name", ["regression", "one_value", "one_score"])
def test_values_have_nothing_to_calibrate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    bundle = bundle_of(name, tmp_path)
    given = ["calibrate", str(bundle.directory), "--data", "none.csv", "--out", str(tmp_path / "c")]
    assert main(given) == 1
    assert "no probabilities of labels: there is nothing to calibrate" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("name", "temperature", "temperatures", "why"),
    [
        ("multi_label", 1.0, (1.0, 2.0), "has no or 4 temperatures of labels, not 2"),
        ("multi_label", 2.0, (1.0,) * 4, "leaves the bundle's own at 1"),
        ("softmax", 1.0, (1.0,) * 3, "has no or 0 temperatures of labels, not 3"),
        ("multi_label", 1.0, (1.0, 0.0, 1.0, 1.0), "temperatures"),
    ],
)
def test_temperatures_that_do_not_fit_the_labels_are_no_bundle(
    tmp_path: Path, name: str, temperature: float, temperatures: tuple[float, ...], why: str
) -> None:
    bundle = bundle_of(name, tmp_path)
    head = Head(bundle.head.task, bundle.head.activation, bundle.head.thresholds, temperatures)
    with pytest.raises(InvalidBundle, match=why):
        write_bundle(
            tmp_path / "c",
            name="x",
            labels=bundle.labels,
            files={file: bundle.directory / file for file in bundle.files},
            max_tokens=9,
            temperature=temperature,
            head=head,
            engine=bundle.engine,
        )


def test_figures_of_several_labels_by_hand() -> None:
    truth = np.array([[1, 0], [1, 1], [0, 0], [0, 1]]) > 0
    scores = np.array([[0.9, 0.2], [0.4, 0.7], [0.8, 0.1], [0.2, 0.6]])
    found = of_labels(truth, scores, ("a", "b"), Head("multi_label", "sigmoid", (0.5, 0.65)))
    # Given: a, b; nothing of the second's a; a of the third; nothing of the fourth's b.
    assert (found["texts"], found["accuracy"], found["label_accuracy"]) == (4, 0.25, 5 / 8)
    assert (found["recall_a"], found["precision_a"], found["f1_a"]) == (0.5, 0.5, 0.5)
    assert (found["recall_b"], found["precision_b"]) == (0.5, 1.0)
    assert found["macro_f1"] == pytest.approx((0.5 + 2 / 3) / 2)
    assert found["micro_f1"] == pytest.approx(2 * 2 / (4 + 3))


def test_figures_of_values_by_hand() -> None:
    truth = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    found = of_values(truth, truth + np.array([1.0, -2.0]), ("x", "y"))
    assert (found["mae"], found["mae_x"], found["rmse_y"]) == (1.5, 1.0, 2.0)
    assert (found["r_x"], found["r_y"]) == (pytest.approx(1.0), 0.0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("registry")
    place = ["--tracking-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    return [*place, "--artifact-root", str(folder / "artifacts"), "--actor", "ana"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "labels", "figure", "refused"),
    [
        ("multi_label", ["a|d", "-", '["b,b"]', "c", "a", "d"], "f1_a", "A|b"),
        (
            "regression",
            ["[1, 2]", "[0, 1]", "[3, 4]", "[1, 1]", "[0, 0]", "[2, 2]"],
            "r_arousal",
            3,
        ),
        ("one_value", ["1", "2.5", "3", "4", "5", "1"], "mae", "much"),
        ("one_score", [0.1, 1, 0, 0.5, 0, 1], "rmse", "nan"),
    ],
)
def test_models_evaluate_knows_each_kind(
    tmp_path: Path,
    place: list[str],
    capsys: pytest.CaptureFixture[str],
    name: str,
    labels: list[object],
    figure: str,
    refused: object,
) -> None:
    bundle = bundle_of(name, tmp_path)
    ModelRegistry(place[1], place[3]).store.register(name, bundle.directory, actor="ana")
    rows = [{"text": t, "gold": gold} for t, gold in zip(TEXTS, labels, strict=True)]
    data = write(tmp_path / "data.jsonl", rows)
    given = ["models", "evaluate", name, "1", "--data", str(data), "--label-column", "gold"]
    capsys.readouterr()
    assert main([*given, *place, "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert metrics["texts"] == 6
    assert np.isfinite(metrics[figure])
    assert main([*given, *place, "--by", "gold"]) == 1
    assert "--by and --mistakes are for models with one label" in capsys.readouterr().err
    write(data, [*rows, {"text": "tea", "gold": refused}])
    assert main([*given, *place]) == 1
    told = capsys.readouterr().err
    assert "are not the model's" in told or "row 7" in told
