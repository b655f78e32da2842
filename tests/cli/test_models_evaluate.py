"""`sentigraph models evaluate` with the bundled model on files as people have them."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from cli.__main__ import main
from registry.model_registry import ModelRegistry

pytestmark = pytest.mark.slow
BUNDLE = Path(__file__).parents[2] / "models" / "sentiment"
TEXTS = [("1", "I love it", "a"), ("0", "I hate it", "a"), ("1", "This is terrible", "b")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("evaluate")
    place = [
        *("--tracking-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--artifact-root", str(folder / "artifacts"), "--actor", "ana"),
    ]
    assert main(["models", "import", str(BUNDLE), "--name", "mood", *place]) == 0
    return place


def _evaluate(place: list[str], path: Path, *words: str) -> int:
    return main(["models", "evaluate", "mood", "1", "--data", str(path), *words, *place])


def test_other_columns_labels_and_separators(
    place: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, wrong = tmp_path / "reviews.csv", tmp_path / "wrong.csv"
    lines = ["stars;review;shop", *(";".join(row) for row in TEXTS)]
    path.write_text("\ufeff" + "\n".join(lines))
    options = ["--text-column", "review", "--label-column", "stars", "--by", "shop"]
    options += ["--map", "0=NEGATIVE,1=POSITIVE", "--mistakes", str(wrong)]
    capsys.readouterr()
    assert _evaluate(place, path, *options, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metrics"]["accuracy"] == pytest.approx(2 / 3)
    assert found["metrics"]["accuracy_shop_a"] == 1.0
    assert found["metrics"]["texts"] == 3
    assert found["confusion"] == [[1, 0], [1, 1]]
    assert found["metrics"]["gmacs_per_text"] > 0.01
    assert "latency_ms" not in found["metrics"]
    with wrong.open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["review"], row["shop"]) == ("This is terrible", "b")
    assert (row["expected"], row["predicted"]) == ("POSITIVE", "NEGATIVE")

    registry = ModelRegistry(place[1], place[3])
    text = registry.store.mlflow.client().download_artifacts(found["id"], "evaluation.json")
    assert json.loads(Path(text).read_text())["slices"][0]["value"] == "a"

    assert _evaluate(place, path, *options) == 0
    shown = capsys.readouterr().out
    for words in ("accuracy", "95 % interval", "true \\ predicted", "shop=b", "precision"):
        assert words in shown


def test_the_count_of_work_is_the_same_every_time(
    place: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def cost(texts: list[str]) -> Any:
        path = tmp_path / "a.jsonl"
        path.write_text("\n".join(json.dumps({"text": t, "label": "POSITIVE"}) for t in texts))
        capsys.readouterr()
        assert _evaluate(place, path, "--json") == 0
        return json.loads(capsys.readouterr().out)["metrics"]

    short, again, long = cost(["good"]), cost(["good"]), cost(["good " * 100])
    assert short["gmacs_per_text"] == again["gmacs_per_text"]
    ratio = long["gmacs_per_text"] / short["gmacs_per_text"]
    tokens = long["tokens_per_text"] / short["tokens_per_text"]
    # Attention grows with the square of the length, the rest with the length.
    assert tokens < ratio < 2 * tokens
    # 6 layers of 12 x 384 x 384 weights meet every token; head and attention come on top.
    weights = 6 * 12 * 384 * 384 / 1e9
    assert short["gmacs_per_text"] == pytest.approx(short["tokens_per_text"] * weights, rel=0.05)


def test_labels_that_the_model_does_not_have_are_listed_with_its_own(
    place: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\ngood,1\nbad,0\n")
    assert _evaluate(place, path) == 1
    told = capsys.readouterr().err
    assert "labels 0, 1 are not the model's, which are NEGATIVE, POSITIVE" in told
    assert "--map 0=NEGATIVE" in told
