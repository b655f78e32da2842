"""A multi-label PyTorch bundle, made by `import --engine torch`, becomes the champion."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ended_jobs import until_ended
from versions import ANA, wait_for

from cli.__main__ import main
from operations.local_stack.stack import Stack
from pipelines.training.tiny_encoder import write_tiny_base
from registry.model_registry import ModelRegistry
from registry.policy import Policy

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LABELS = ("toxic", "praise", "question")
TEXTS = ["the phone was lovely", "an awful driver", "😀 at home"]
THRESHOLDS = {"toxic": 0.5, "praise": 0.4, "question": 0.6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    base = write_tiny_base(made / "base", [*TEXTS, "my sister was at the sea"])
    tokens = transformers.PreTrainedTokenizerFast.from_pretrained(base)
    tokens.save_pretrained(made / "model")
    torch.manual_seed(5)
    config = transformers.BertConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
        problem_type="multi_label_classification",
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    transformers.BertForSequenceClassification(config).save_pretrained(made / "model")
    return made / "model"


@pytest.fixture(scope="module")
def champion(
    stack: Stack, client: httpx.Client, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    out = tmp_path_factory.mktemp("out")
    thresholds = [
        part for label, score in THRESHOLDS.items() for part in ("--threshold", f"{label}={score}")
    ]
    command = ["import", str(folder), "--name", "sentiment", "--out", str(out)]
    assert main([*command, "--engine", "torch", *thresholds]) == 0
    config = stack.config.registry
    registry = ModelRegistry(config.tracking_uri, config.artifact_root)
    version = registry.store.register("sentiment", out / "torch-fp32", actor="ana").version
    registry.lifecycle.transition("sentiment", version, "staging", **ANA)
    registry.catalog.update_model("sentiment", policy=Policy(same_labels=False), **ANA)
    registry.lifecycle.transition("sentiment", version, "production", **ANA)
    wait_for(client, version)
    yield version
    registry.catalog.update_model("sentiment", policy=Policy(same_labels=True), **ANA)
    registry.lifecycle.rollback("sentiment", to=1, **ANA)
    wait_for(client, 1)


@pytest.fixture(scope="module")
def wanted(folder: Path) -> list[dict[str, float]]:
    """Score by label of each text, by the library."""
    classify = transformers.pipeline(
        "text-classification",
        model=transformers.AutoModelForSequenceClassification.from_pretrained(folder),
        tokenizer=transformers.AutoTokenizer.from_pretrained(folder),
        device="cpu",
    )
    answers = classify(TEXTS, top_k=None, truncation=True)
    return [{each["label"]: each["score"] for each in answer} for answer in answers]


def check(found: dict[str, Any], scores: dict[str, float]) -> None:
    assert found["scores"] == pytest.approx(scores, abs=1e-4)
    assert found["labels"] == [each for each in LABELS if scores[each] >= THRESHOLDS[each]]


@pytest.mark.usefixtures("champion")
def test_http_and_jobs_answer_as_the_library_does(
    client: httpx.Client, wanted: list[dict[str, float]]
) -> None:
    live = client.get("/models/live").json()["champion"]
    assert (live["backend"], live["task"]) == ("pytorch", "multi_label")
    one = client.post("/predict", json={"text": TEXTS[0]}).json()
    assert one["backend"] == "pytorch"
    check(one, wanted[0])
    batch = client.post("/predict/batch", json={"texts": TEXTS}).json()
    for item, scores in zip(batch["results"], wanted, strict=True):
        check(item["prediction"], scores)
    job = client.post("/batch/predict", json={"texts": TEXTS}).json()["job_id"]
    assert until_ended(client, job)["status"] == "completed"
    lines = client.get(f"/batch/results/{job}/file").text.splitlines()
    for line, scores in zip(lines, wanted, strict=True):
        labels = [each for each in LABELS if scores[each] >= THRESHOLDS[each]]
        assert json.loads(line)["labels"] == labels


@pytest.mark.usefixtures("champion")
def test_open_inference_says_which_labels_apply(
    stack: Stack, wanted: list[dict[str, float]]
) -> None:
    texts = {"name": "text", "shape": [len(TEXTS)], "datatype": "BYTES", "data": TEXTS}
    url = f"{stack.url}/v2/models/sentiment/infer"
    outputs = httpx.post(url, json={"inputs": [texts]}, timeout=30).json()["outputs"]
    (applies,) = (each["data"] for each in outputs if each["name"] == "applies")
    assert applies == [row[each] >= THRESHOLDS[each] for row in wanted for each in LABELS]
