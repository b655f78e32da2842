"""Every kind of head is imported and served as the library's own pipeline scores it."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from cli.__main__ import main
from deployments.model.engines import open_engine
from deployments.model.runner import LoadedModel
from deployments.tokenizer.replica import LoadedTokenizer
from registry.bundles.bundle import open_bundle
from registry.records import Bundle, Head
from tests.pipelines.export.huggingface_models import Weights, changed

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

TEXTS = ("the phone was lovely", "awful", "😀 at home\u0301 שלום", "x" * 300, "the sea " * 200)
THREE = ("bug", "praise", "question")


def one_output(state: Weights) -> Weights:
    """The first row of the head alone."""
    return {k: v[:1].clone() if k.startswith("classifier.") else v for k, v in state.items()}


def one(name: str, **more: object) -> dict[str, object]:
    return {"id2label": {"0": name}, "label2id": {name: 0}, **more}


def imported(folder: Path, out: Path, *more: str) -> Bundle:
    """By PyTorch, which takes a tenth of the time of an export; the heads are the same."""
    command = ["import", str(folder), "--name", "x", "--out", str(out), "--engine", "torch", *more]
    assert main(command) == 0
    return open_bundle(out / "torch-fp32")


def served(bundle: Bundle) -> list[dict[str, float]]:
    model = LoadedModel(bundle, open_engine(bundle, provider="cpu", threads=1))
    tokens = LoadedTokenizer(bundle)
    rows = [model.score([tokens.encode([text]).ids])[0].tolist() for text in TEXTS]
    return [dict(zip(bundle.labels, row, strict=True)) for row in rows]


def of_the_library(folder: Path) -> list[dict[str, float]]:
    classify = pipeline(
        "text-classification",
        model=AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32),
        tokenizer=AutoTokenizer.from_pretrained(folder),
        device="cpu",
    )
    answers = classify(list(TEXTS), top_k=None, truncation=True, max_length=64)
    return [{each["label"]: each["score"] for each in answer} for answer in answers]


@pytest.mark.parametrize(
    ("config", "single", "head"),
    [
        ({}, False, Head()),
        (
            {"problem_type": "multi_label_classification"},
            False,
            Head("multi_label", "sigmoid", (0.5, 0.5, 0.5)),
        ),
        ({"problem_type": "regression"}, False, Head("regression", "none")),
        (one("relevance"), True, Head("regression", "sigmoid")),
        (one("stars", problem_type="regression"), True, Head("regression", "none")),
        (
            one("toxic", problem_type="multi_label_classification"),
            True,
            Head("multi_label", "sigmoid", (0.5,)),
        ),
    ],
)
def test_scores_are_the_pipelines(
    tiny_classifier: Path, tmp_path: Path, config: dict[str, object], single: bool, head: Head
) -> None:
    weights = one_output if single else None
    folder = changed(tiny_classifier, tmp_path / "model", config=config, weights=weights)
    bundle = imported(folder, tmp_path / "out")
    assert bundle.head == head
    for found, wanted in zip(served(bundle), of_the_library(folder), strict=True):
        assert found == pytest.approx(wanted, abs=1e-5)


def test_one_output_with_two_classes(tiny_classifier: Path, tmp_path: Path) -> None:
    folder = changed(tiny_classifier, tmp_path / "m", config=one("score"), weights=one_output)
    bundle = imported(folder, tmp_path / "out", "--binary", "bad", "good")
    assert (bundle.labels, bundle.head) == (("bad", "good"), Head("single_label", "sigmoid"))
    for found, wanted in zip(served(bundle), of_the_library(folder), strict=True):
        expected = {"bad": 1 - wanted["score"], "good": wanted["score"]}
        assert found == pytest.approx(expected, abs=1e-5)


def test_eight_bits_are_judged_by_the_head(
    tiny_classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"problem_type": "multi_label_classification"}
    folder = changed(tiny_classifier, tmp_path / "model", config=config)
    options = ["--threshold", "0.4", "--threshold", "bug=0.7", "--json"]
    out = tmp_path / "out"
    assert main(["import", str(folder), "--name", "x", "--out", str(out), *options]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["model"]["thresholds"] == [0.7, 0.4, 0.4]
    assert 0.97 <= report["int8_agreement"] <= 1
    assert open_bundle(out / "int8").head.thresholds == (0.7, 0.4, 0.4)
    for found, wanted in zip(
        served(open_bundle(out / "fp32")), of_the_library(folder), strict=True
    ):
        assert found == pytest.approx(wanted, abs=1e-5)


def test_a_cross_encoder_says_that_its_output_is_raw(tiny_classifier: Path, tmp_path: Path) -> None:
    function = "torch.nn.modules.linear.Identity"
    config = one("score", sentence_transformers={"activation_fn": function})
    folder = changed(tiny_classifier, tmp_path / "model", config=config, weights=one_output)
    assert imported(folder, tmp_path / "out").head.activation == "none"


@pytest.mark.parametrize(
    ("config", "options", "why"),
    [
        ({}, ["--binary", "a", "b"], "one output; this one has 3"),
        ({}, ["--activation", "sigmoid"], "--task says what the outputs mean"),
        ({}, ["--threshold", "0.4"], "for multi-label models, this is single_label"),
        ({}, ["--task", "multi_label", "--threshold", "bugs=0.4"], "no such label"),
        ({}, ["--task", "multi_label", "--threshold", "bug=1.4"], "between 0 and 1"),
        ({}, ["--task", "regression", "--activation", "softmax"], "none or sigmoid, not by"),
        (one("x"), ["--task", "single_label"], "one output, which cannot be one label of several"),
        (one("x"), ["--binary", "a", "a"], "'a' to both classes"),
        ({"problem_type": "ranking"}, [], "--task says what the outputs mean"),
        ({"function_to_apply": "sigmoid"}, [], "function_to_apply"),
    ],
)
def test_contradictions_are_refused_before_a_weight_is_read(
    tiny_classifier: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    config: dict[str, object],
    options: list[str],
    why: str,
) -> None:
    folder = changed(tiny_classifier, tmp_path / "model", config=config)
    (folder / "model.safetensors").write_bytes(b"")
    out = tmp_path / "out"
    assert main(["import", str(folder), "--name", "x", "--out", str(out), *options]) == 1
    assert why in capsys.readouterr().err
    assert not out.exists()
