"""The whole pipeline in one command, and what evaluation promises about it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from cli.__main__ import main
from pipelines.data.table import read_manifest, read_table
from pipelines.evaluation.evaluate import measure_bundle
from registry.backend.store import RegistryStore
from registry.bundles.bundle import open_bundle, rewrite_bundle, write_bundle
from registry.records import Bundle

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.timeout(300),
    pytest.mark.slow,
]


@dataclass(frozen=True)
class Chain:
    """Where one finished run left its things."""

    work: Path
    out: Path
    uri: str

    @property
    def bundle(self) -> Bundle:
        return open_bundle(self.out / "words")


@pytest.fixture(scope="module")
def chain(sentence_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """One quick run; the model learns to tell sixteen words apart."""
    folder = tmp_path_factory.mktemp("chain")
    made = Chain(folder / "work", folder / "models", f"sqlite:///{folder}/mlflow.db")
    options = ["--input", str(sentence_file), "--name", "words", "--threads", "1"]
    options += ["--work", str(made.work), "--out", str(made.out)]
    options += ["--tracking-uri", made.uri, "--artifact-root", str(folder / "artifacts")]
    assert main(["pipeline", "--quick", *options]) == 0
    return made


def test_the_bundle_carries_its_origin_and_figures(chain: Chain) -> None:
    bundle, table = chain.bundle, read_table(chain.work / "data")
    assert bundle.labels == ("negative", "positive")
    assert bundle.engine.precision == "int8"
    assert bundle.provenance["dataset_digest"] == table.digest
    assert bundle.provenance["base"] == "tiny"
    assert {"recipe_digest", "train_run", "torch", "onnxruntime"} <= set(bundle.provenance)
    assert 0 <= bundle.metrics["ece"] <= 1
    assert bundle.metrics["macro_accuracy"] > 0.9
    assert bundle.temperature != 1.0


def test_the_card_shows_the_same_figures(chain: Chain) -> None:
    card = (chain.out / "words.md").read_text()
    assert f"{100 * chain.bundle.metrics['macro_accuracy']:.1f}" in card
    assert chain.bundle.provenance["dataset_digest"] in card
    assert "$" not in card


def test_the_bundle_is_registered_once_and_runs_are_tracked(chain: Chain) -> None:
    store = RegistryStore(chain.uri, chain.out.parent / "artifacts")
    versions = store.list_versions("words")
    assert [version.digest for version in versions] == [chain.bundle.digest]
    options = ["--bundle", str(chain.out / "words"), "--tracking-uri", chain.uri]
    assert main(["register", *options, "--artifact-root", str(chain.out.parent / "artifacts")]) == 0
    assert len(store.list_versions("words")) == 1
    champion = ["--artifact-root", str(chain.out.parent / "artifacts"), "--alias", "champion"]
    assert main(["register", *options, *champion]) == 0
    assert store.resolve("words", "champion").version == 1

    client = MlflowClient(chain.uri)
    experiment = client.get_experiment_by_name("sentigraph")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {"train", "export", "evaluate"} <= set(runs)
    assert all(run.info.status == "FINISHED" for run in runs.values())
    assert runs["train"].info.run_id == chain.bundle.provenance["train_run"]


def test_evaluation_uses_the_bundles_temperature(chain: Chain, tmp_path: Path) -> None:
    table = read_table(chain.work / "data")
    honest = measure_bundle("a", chain.bundle, table, 1)
    other = rewrite_bundle(chain.bundle, tmp_path / "vague", temperature=15.0, metrics={})
    vague = measure_bundle("b", other, table, 1)
    assert honest.calibration is not None
    assert vague.calibration is not None
    assert honest.calibration.temperature == chain.bundle.temperature
    assert vague.calibration.temperature == 15.0
    assert vague.calibration.ece > honest.calibration.ece + 0.1
    assert vague.figures.macro_accuracy == honest.figures.macro_accuracy


def test_evaluation_uses_the_serving_tokenizer(chain: Chain, tmp_path: Path) -> None:
    table = read_table(chain.work / "data")
    bundle = chain.bundle
    tokenizer = json.loads((bundle.directory / "tokenizer.json").read_text())
    # All words unknown: a model that is asked through this tokenizer can only guess.
    vocabulary = tokenizer["model"]["vocab"]
    special = {token["content"] for token in tokenizer["added_tokens"]}
    tokenizer["model"]["vocab"] = {word: at for word, at in vocabulary.items() if word in special}
    blind = tmp_path / "tokenizer.json"
    blind.write_text(json.dumps(tokenizer))
    files = {"model.onnx": bundle.directory / "model.onnx", "tokenizer.json": blind}
    guess = write_bundle(
        tmp_path / "blind",
        name="blind",
        labels=bundle.labels,
        files=files,
        max_tokens=bundle.max_tokens,
        engine=bundle.engine,
    )
    assert measure_bundle("blind", guess, table, 1).figures.macro_accuracy < 0.7


def test_reports_come_as_json_for_programs(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--data", str(chain.work / "data"), "--export", str(chain.work / "export")]
    out = ["--out", str(chain.out / "again"), "--card", str(chain.out / "again.md")]
    tracking = ["--tracking-uri", chain.uri, "--artifact-root", str(chain.out.parent / "artifacts")]
    assert main(["evaluate", "--json", *folders, *out, *tracking]) == 0
    reports = json.loads(capsys.readouterr().out)
    assert [report["system"] for report in reports] == [
        "words INT8",
        "words FP32",
        "TF-IDF + LR",
        "VADER",
    ]
    for report in reports:
        accuracy = report["figures"]["slices"][0]["accuracy"]
        assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    # Evaluation alone repeats what the pipeline wrote.
    assert open_bundle(chain.out / "again").digest == chain.bundle.digest
    assert np.isclose(reports[0]["figures"]["accuracy"]["value"], chain.bundle.metrics["accuracy"])


def test_steps_say_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--data", str(tmp_path / "none")]) == 1
    assert "run `sentigraph data` first" in capsys.readouterr().err
    with pytest.raises(SystemExit) as usage:
        main(["nonsense"])
    assert usage.value.code == 2


def test_what_went_wrong_is_told_and_in_the_card(
    sentence_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Training that stopped early, and rows that contradict each other."""
    lines = sentence_file.read_text().splitlines()[::2]
    torn = [line.replace("positive", "negative") for line in lines if "positive" in line][:25]
    (tmp_path / "in.jsonl").write_text("\n".join(lines + torn))
    options = ["--input", str(tmp_path / "in.jsonl"), "--name", "words", "--threads", "1"]
    options += ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "models")]
    options += ["--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    options += ["--artifact-root", str(tmp_path / "artifacts")]
    options += ["--learning-rate", "1e-12", "--patience", "1"]
    assert main(["pipeline", "--quick", *options]) == 0
    told = capfd.readouterr().err
    card = (tmp_path / "models" / "words.md").read_text()
    early = "raining stopped early, after epoch 2 of 6 (step "
    assert early in told
    assert early in card
    conflicting = read_manifest(tmp_path / "work" / "data").conflicting_labels_removed
    # Sentences of the file itself differ by one word.
    assert conflicting >= 25
    assert told.count(f"{conflicting} of them with another label than the text that was kept") == 2
    assert f"{conflicting} of them with another label than the text that was kept" in card
    assert open_bundle(tmp_path / "models" / "words").provenance["epochs_run"] == "2"


def test_training_goes_on_from_a_registered_version(
    chain: Chain, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """From the kept checkpoint, with own settings, in plain lines, and beside the champion."""
    store = ["--tracking-uri", chain.uri, "--artifact-root", str(chain.out.parent / "artifacts")]
    assert (
        main(["register", "--bundle", str(chain.out / "words"), "--alias", "champion", *store]) == 0
    )
    table = read_table(chain.work / "data")
    rows = [row for row in table.rows if row.label == "positive" or len(row.text) % 2]
    own = tmp_path / "own.csv"
    own.write_text("stars;said\n" + "".join(f"{row.label[0]};{row.text}\n" for row in rows))
    options = ["--input", str(own), "--text-column", "said", "--label-column", "stars"]
    options += ["--map", "n=negative,p=positive", "--from", "words@champion", "--epochs", "1"]
    options += ["--class-weights", "balanced", "--tune-thresholds", "--threads", "1"]
    folders = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "models")]
    assert main(["pipeline", "--name", "words", *options, *folders, *store]) == 0
    told = capfd.readouterr().err
    assert "\r" not in told
    assert f"writes {tmp_path / 'models' / 'words'}" in told
    bundle = open_bundle(tmp_path / "models" / "words")
    recipe = json.loads(bundle.provenance["recipe"])
    assert recipe["class_weights"] == "balanced"
    assert recipe["tune_thresholds"] is True
    assert recipe["epochs"] == 1
    assert bundle.provenance["from"] == "words version 1"
    # One epoch from random weights learns nothing of the sixteen words.
    assert bundle.metrics["accuracy"] > 0.9
    card = (tmp_path / "models" / "words.md").read_text()
    assert "| champion (version 1) |" in card
    assert "Fine-tuning of words version 1" in card
    assert "editorial" not in card
    assert "bundled model" not in card
    assert "Weakest label" in card

    capfd.readouterr()
    data = ["--data", str(tmp_path / "work" / "data"), "--out", str(tmp_path / "again")]
    assert main(["train", "--from", "words@nothing", *data, *store]) == 1
    assert "words@nothing: " in capfd.readouterr().err
