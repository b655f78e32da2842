"""The four models of the specification's list: imported with their labels, right over HTTP."""

from pathlib import Path

import httpx
import pytest
from front import LIVE, with_front
from poison_model import PoisonStages
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from cli.__main__ import main
from configs.schema.app import AppConfig
from deployments.versions import RoutingTable, ServedVersion
from registry.bundles.bundle import open_bundle
from tests.pipelines.export.public_models import LABELS, STARS, TWITTER, write_public_model

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
TEXTS = ["the phone was lovely", "@user 😀 I am so ANGRY", "c'est affreux" * 200]


@pytest.mark.parametrize("name", LABELS)
def test_labels_limit_and_answers_are_the_models_own(tmp_path: Path, name: str) -> None:
    folder = write_public_model(name, tmp_path / "model")
    out = tmp_path / "out"
    assert main(["import", str(folder), "--name", "x", "--out", str(out), "--engine", "torch"]) == 0
    bundle = open_bundle(out / "torch-fp32")
    assert bundle.labels == LABELS[name]
    assert bundle.max_tokens == 512
    classify = pipeline(
        "text-classification",
        model=AutoModelForSequenceClassification.from_pretrained(folder),
        tokenizer=AutoTokenizer.from_pretrained(folder),
        device="cpu",
    )
    stages = PoisonStages(tmp_path, bundle)
    stages.table = RoutingTable(
        1,
        ServedVersion(LIVE.name, 3, bundle.digest, bundle.labels, "torch", "fp32", 512, "registry"),
    )

    async def body(client: httpx.AsyncClient) -> None:
        answers = (await client.post("/api/v1/predict/batch", json={"texts": TEXTS})).json()
        assert answers["backend"] == "pytorch"
        for text, item in zip(TEXTS, answers["results"], strict=True):
            wanted = classify(text, top_k=None, truncation=True, max_length=512)
            found = item["prediction"]
            assert found["label"] == wanted[0]["label"]
            scores = {each["label"]: each["score"] for each in wanted}
            assert found["scores"] == pytest.approx(scores, abs=1e-5)

    with_front(AppConfig.model_validate({"cache": {"l2": "none"}}), body, stages=stages)


def test_the_words_are_split_as_each_tokenizer_does(tmp_path: Path) -> None:
    stars = AutoTokenizer.from_pretrained(write_public_model(STARS, tmp_path / "stars"))
    twitter = AutoTokenizer.from_pretrained(write_public_model(TWITTER, tmp_path / "twitter"))
    assert stars("LOVELY")["input_ids"] == stars("lovely")["input_ids"]
    assert twitter("LOVELY")["input_ids"] != twitter("lovely")["input_ids"]
    assert twitter("a")["input_ids"][0] == 0
    assert twitter.pad_token_id == 1
