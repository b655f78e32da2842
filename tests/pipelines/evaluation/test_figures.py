"""Figures of a small confusion matrix, worked out by hand and by scikit-learn."""

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from pipelines.data.labelled_texts import read_labelled_texts
from pipelines.errors import DatasetError
from pipelines.evaluation.figures import flat, measure, metric_name
from pipelines.evaluation.mistakes import write_mistakes
from pipelines.evaluation.tables import label_table, slice_table

TRUTH = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 0])
PREDICTED = np.array([0, 1, 0, 1, 2, 2, 2, 0, 2, 0])
LABELS = ("bug", "praise", "question")
SHOP = ["x"] * 5 + ["y"] * 5


def test_labels_confusion_and_slices_are_those_of_scikit_learn() -> None:
    figures = measure(TRUTH, PREDICTED, LABELS, slices={"shop": SHOP})
    assert figures.confusion == ((3, 1, 0), (0, 1, 1), (1, 0, 3))
    wanted = precision_recall_fscore_support(TRUTH, PREDICTED)
    found = [(one.precision, one.recall, one.f1, one.texts) for one in figures.labels]
    assert np.allclose(np.array(found).T, np.array(wanted))
    assert figures.accuracy.value == 0.7
    assert figures.macro_f1 == pytest.approx(f1_score(TRUTH, PREDICTED, average="macro"))
    assert figures.macro_f1_low < figures.macro_f1 < figures.macro_f1_high
    assert [(one.value, one.accuracy.value) for one in figures.slices] == [("x", 0.6), ("y", 0.8)]
    assert [row[0] for row in slice_table(figures)[1:]] == ["shop=x", "shop=y"]
    assert label_table(figures)[1][:3] == ["bug", "4", "4"]


def test_the_bootstrap_interval_narrows_with_the_texts() -> None:
    few = measure(TRUTH, PREDICTED, LABELS)
    many = measure(np.tile(TRUTH, 100), np.tile(PREDICTED, 100), LABELS)
    width = few.macro_f1_high - few.macro_f1_low
    assert many.macro_f1 == pytest.approx(few.macro_f1)
    assert many.macro_f1_high - many.macro_f1_low == pytest.approx(width / 10, rel=0.3)


def test_names_are_those_that_mlflow_takes_and_never_too_many() -> None:
    scores = np.eye(3)[PREDICTED] * 0.8 + 0.1
    named = flat(
        measure(TRUTH, PREDICTED, LABELS, slices={"domain": SHOP}, probabilities=scores / 1.1)
    )
    assert named["texts"] == 10
    assert named["accuracy_x"] == 0.6
    assert named["macro_accuracy"] == pytest.approx(0.7)
    assert named["recall_question"] == 0.75
    assert {"ece", "nll", "brier"} <= named.keys()
    assert metric_name("accuracy_a=b,ü?") == "accuracy_a_b_ü_"
    many = [f"label {at}" for at in range(400)]
    assert len(flat(measure(np.arange(400), np.arange(400), many))) == 90


def test_mistakes_keep_their_own_columns_surest_first(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text,label\n7,a,bug\n8,b,praise\n9,c,bug\n")
    data = read_labelled_texts([path])
    scores = np.array([[0.4, 0.6], [0.1, 0.9], [0.2, 0.8]])
    assert write_mistakes(tmp_path / "wrong.csv", data, ("bug", "praise"), scores) == 2
    with (tmp_path / "wrong.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == ["9", "7"]
    assert rows[0] == {
        **{"id": "9", "text": "c", "label": "bug", "expected": "bug", "predicted": "praise"},
        **{"score": "0.800000", "score_bug": "0.200000", "score_praise": "0.800000"},
    }
    path.write_text("text,label,score\na,bug,1\n")
    with pytest.raises(DatasetError, match="a column named score: rename it"):
        write_mistakes(tmp_path / "b.csv", read_labelled_texts([path]), ("bug", "praise"), scores)
