"""An imported classifier answers as `transformers` does: limits, sides of the cut, precisions."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BartConfig,
    BertConfig,
    DistilBertConfig,
    GPT2Config,
    ModernBertConfig,
    MPNetConfig,
    RobertaConfig,
)

from cli.__main__ import main
from deployments.tokenizer.replica import LoadedTokenizer
from pipelines.errors import CheckpointError, QuantisationError
from pipelines.export.finished_classifier import open_finished
from pipelines.export.odd_texts import odd_texts
from pipelines.export.parity import largest_difference, require_steady
from pipelines.export.serving_scores import ServedModel
from pipelines.training.weights import usable_tokens
from registry.bundles.bundle import open_bundle
from tests.pipelines.export.huggingface_models import changed, save_model, sizes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

WORDS = "the phone in rome was lovely and at home my sister driver awful train sea"
TEXTS = (
    "the phone was lovely",
    "😀 café cafe\u0301 שלום мир 世界",
    "[SEP] [MASK] a \u0000 b",
    "x" * 400,
    " ".join([WORDS] * 40),
    f"{'awful ' * 300}lovely",
)


@pytest.fixture(scope="module")
def words(tiny_classifier: Path) -> int:
    return int(json.loads((tiny_classifier / "config.json").read_text())["vocab_size"])


def library_logits(folder: Path, texts: tuple[str, ...], max_tokens: int) -> np.ndarray:
    """What the library answers by itself, in float32."""
    tokens = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    rows = []
    with torch.inference_mode():
        for text in texts:
            encoded = tokens(text, truncation=True, max_length=max_tokens, return_tensors="pt")
            rows.append(model(**encoded).logits.numpy())
    return np.concatenate(rows)


def imported(folder: Path, out: Path, *more: str) -> ServedModel:
    """The FP32 bundle that the command writes."""
    given = ["import", str(folder), "--name", "x", "--out", str(out), "--precision", "fp32", *more]
    assert main(given) == 0
    assert not (out / "int8").exists()
    return ServedModel(open_bundle(out / "fp32"), threads=1)


def half(dtype: torch.dtype) -> Callable[..., dict[str, torch.Tensor]]:
    return lambda state: {key: value.to(dtype) for key, value in state.items()}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_imported_as_float32(
    tiny_classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], dtype: torch.dtype
) -> None:
    name = str(dtype).removeprefix("torch.")
    folder = changed(
        tiny_classifier, tmp_path / "model", config={"dtype": name}, weights=half(dtype)
    )
    served = imported(folder, tmp_path / "out")
    expected = library_logits(folder, TEXTS, 64)
    assert np.abs(served.logits(TEXTS) - expected).max() < 1e-4 * max(1, np.abs(expected).max())
    told = capsys.readouterr().out
    assert {"float16": "weights F16", "bfloat16": "weights BF16"}[name] in told
    assert "chosen: float32, at most 64 tokens, longer texts are cut at the end" in told


@pytest.mark.slow
def test_positions_behind_the_padding_token_are_not_used(
    tiny_classifier: Path, words: int, tmp_path: Path
) -> None:
    config = RobertaConfig(**sizes(words), max_position_embeddings=66, pad_token_id=3)
    folder = save_model(tmp_path / "roberta", config, tiny_classifier)
    served = imported(folder, tmp_path / "out", "--max-tokens", "1000")
    assert served.bundle.max_tokens == 62
    expected = library_logits(folder, TEXTS, 62)
    assert np.abs(served.logits(TEXTS) - expected).max() < 1e-4 * max(1, np.abs(expected).max())


@pytest.mark.slow
def test_a_tokenizer_that_cuts_the_beginning_does_so_when_served(
    tiny_classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = changed(
        tiny_classifier,
        tmp_path / "model",
        tokenizer={"truncation_side": "left", "model_max_length": 32},
    )
    served = imported(folder, tmp_path / "out", "--json")
    bundle = served.bundle
    assert (bundle.truncation_side, bundle.max_tokens) == ("left", 32)
    expected = library_logits(folder, TEXTS, 32)
    assert np.abs(served.logits(TEXTS) - expected).max() < 1e-4 * max(1, np.abs(expected).max())
    tokens = AutoTokenizer.from_pretrained(folder)
    kept = tokens(TEXTS[-1], truncation=True)["input_ids"]
    assert LoadedTokenizer(bundle).encode([TEXTS[-1]]).ids.tolist() == kept
    facts = json.loads(capsys.readouterr().out)["model"]
    assert facts["tokenizer_max_tokens"] == 32
    assert facts["model_positions"] == 64
    assert facts["truncation_side"] == "left"


def test_max_tokens_is_the_smaller_limit_unless_one_is_given(
    tiny_classifier: Path, tmp_path: Path
) -> None:
    folder = changed(tiny_classifier, tmp_path / "model", tokenizer={"model_max_length": 40})
    assert open_finished(str(folder), max_tokens=None).spec.max_tokens == 40
    assert open_finished(str(folder), max_tokens=50).spec.max_tokens == 50
    assert open_finished(str(folder), max_tokens=1_000).spec.max_tokens == 64
    endless = changed(tiny_classifier, tmp_path / "endless", tokenizer={"model_max_length": None})
    found = open_finished(str(endless), max_tokens=None)
    assert (found.spec.max_tokens, found.tokenizer_tokens) == (64, None)


@pytest.mark.parametrize(
    ("config", "usable"),
    [
        (BertConfig(max_position_embeddings=48), 48),
        (RobertaConfig(max_position_embeddings=48, pad_token_id=1), 46),
        (RobertaConfig(max_position_embeddings=48, pad_token_id=0), 47),
        (MPNetConfig(max_position_embeddings=48), 46),
        (DistilBertConfig(max_position_embeddings=48), 48),
        (GPT2Config(n_positions=48), 48),
        (BartConfig(max_position_embeddings=48), 48),
        (ModernBertConfig(max_position_embeddings=48), 48),
    ],
)
def test_usable_positions_by_one_rule(config: object, usable: int) -> None:
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    assert usable_tokens(model) == usable


def test_a_position_table_of_another_length_is_the_one_that_counts(
    tiny_classifier: Path, words: int, tmp_path: Path
) -> None:
    config = MPNetConfig(**sizes(words), max_position_embeddings=34)
    folder = save_model(tmp_path / "mpnet", config, tiny_classifier)
    found = open_finished(str(folder), max_tokens=1_024)
    assert found.spec.max_tokens == 32
    assert np.isfinite(found.reference([TEXTS[-1]])).all()


def test_an_encoder_with_unread_parts_of_another_task_is_imported(
    tiny_classifier: Path, words: int, tmp_path: Path
) -> None:
    config = RobertaConfig(**sizes(words), max_position_embeddings=40, pad_token_id=1)
    folder = save_model(tmp_path / "roberta", config, tiny_classifier)
    pooler = {"roberta.pooler.dense.weight": torch.ones(32, 32)}
    folder = changed(folder, tmp_path / "pooler", weights=lambda state: {**state, **pooler})
    assert open_finished(str(folder), max_tokens=None).spec.max_tokens == 38


def test_labels_are_in_the_order_of_their_numbers(tiny_classifier: Path, tmp_path: Path) -> None:
    named = {"2": "c", "0": "a", "1": "b"}
    folder = changed(tiny_classifier, tmp_path / "model", config={"id2label": named})
    assert open_finished(str(folder), max_tokens=None).spec.labels == ("a", "b", "c")
    folder = changed(tiny_classifier, tmp_path / "odd", config={"id2label": {0: "", 1: "é", 2: 7}})
    assert open_finished(str(folder), max_tokens=None).spec.labels == ("", "é", "7")


def test_names_on_the_hub_are_read_like_folders(
    tiny_classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pipelines.training.model_files.snapshot_download", lambda *_, **__: str(tiny_classifier)
    )
    found = open_finished("someone/three", max_tokens=None)
    assert len(found.digest) == 64

    def away(*_: object, **__: object) -> str:
        raise OSError("the network is unreachable")

    monkeypatch.setattr("pipelines.training.model_files.snapshot_download", away)
    with pytest.raises(CheckpointError, match=r"someone/three: .*hub.*network is unreachable"):
        open_finished("someone/three", max_tokens=None)


@pytest.fixture(scope="module")
def bundled() -> ServedModel:
    return ServedModel(open_bundle(Path(__file__).parents[3] / "models" / "sentiment"), threads=1)


def test_odd_texts_reach_the_limit_and_pass_it(bundled: ServedModel) -> None:
    tokenizer, most = LoadedTokenizer(bundled.bundle), bundled.bundle.max_tokens
    for calibrating in (False, True):
        exact, longer, word, *scripts = odd_texts(
            tokenizer, most, ["it was", "a fine day"], calibrating=calibrating
        )
        encoded = tokenizer.encode([exact, longer, word])
        assert encoded.lengths[:2].tolist() == [most, most]
        assert encoded.truncated[:2].tolist() == [False, True]
        assert len(word) == 400
        assert len(scripts) == 5


def test_int8_may_not_be_sure_of_another_label() -> None:
    sure, unsure = np.array([[3.0, 0.0]], np.float32), np.array([[0.1, 0.0]], np.float32)
    require_steady(unsure, unsure[:, ::-1], ["near the border"])
    with pytest.raises(QuantisationError, match=r"'x{40}… \(400 characters\)' another answer"):
        require_steady(sure, sure[:, ::-1], ["x" * 400])
    with pytest.raises(QuantisationError):
        require_steady(sure, np.full_like(sure, np.nan), ["x"])


def test_large_logits_may_differ_as_float32_rounds() -> None:
    large = np.array([[200.0, -100.0]], np.float32)
    difference, allowed = largest_difference(large, large + np.float32(0.01), 1e-4)
    assert difference <= allowed == pytest.approx(0.02)
    assert not largest_difference(large, large * np.nan, 1e-4)[0] <= allowed


@pytest.mark.slow
def test_a_modern_encoder_is_calibrated_and_judged_on_odd_texts(
    words: int, tiny_classifier: Path, tmp_path: Path
) -> None:
    config = ModernBertConfig(
        **sizes(words),
        max_position_embeddings=128,
        local_attention=16,
        classifier_pooling="mean",
        pad_token_id=0,
    )
    folder = save_model(tmp_path / "modernbert", config, tiny_classifier)
    out = tmp_path / "out"
    given = ["import", str(folder), "--name", "x", "--out", str(out), "--min-agreement", "0.8"]
    assert main(given) == 0
    fp32, int8 = (ServedModel(open_bundle(out / name), threads=1) for name in ("fp32", "int8"))
    expected = library_logits(folder, TEXTS, 128)
    found = fp32.logits(TEXTS)
    assert np.abs(found - expected).max() < 1e-4 * max(1, np.abs(expected).max())
    require_steady(found, int8.logits(TEXTS), TEXTS)


def test_a_refused_int8_names_the_way_out(
    tiny_classifier: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def disagree(*_: object, **__: object) -> None:
        raise QuantisationError("INT8 gives another label")

    monkeypatch.setattr("pipelines.export.huggingface_import.export_bundles", disagree)
    assert main(["import", str(tiny_classifier), "--name", "x", "--out", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert f"{tiny_classifier}: INT8 gives another label; --precision fp32 imports it" in told
