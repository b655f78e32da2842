"""What `sentigraph import` refuses: in one sentence, before any work, without a temporary path."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    FunnelConfig,
    GPT2Config,
    LongformerConfig,
    XLNetConfig,
)

from cli.__main__ import main
from pipelines.export import huggingface_import
from pipelines.export.finished_classifier import open_finished
from tests.pipelines.export.huggingface_models import Weights, changed, save_model, sizes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Imports a folder, expects a refusal before the export, and returns its sentence."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the export began")

    monkeypatch.setattr(huggingface_import, "export_bundles", never)

    def run(folder: Path, *more: str) -> str:
        out = tmp_path / "out"
        assert main(["import", str(folder), "--name", "x", "--out", str(out), *more]) == 1
        told = capsys.readouterr().err.strip().splitlines()[-1]
        assert "Traceback" not in told
        assert not re.search(r"/tmp\w{6,}|\.fp32-", told)
        assert not out.exists()
        return told

    return run


def labels(*names: str) -> dict[str, object]:
    return {
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (labels("bug", "praise", "bug"), "id2label gives 'bug' to more than one output"),
        ({"id2label": {"1": "a", "2": "b", "3": "c"}}, "must be 0 to 2"),
        ({"num_labels": 5}, "num_labels 5 and 3 labels"),
        ({"function_to_apply": "sigmoid"}, "function_to_apply"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised"),
        ({"architectures": ["BertForTokenClassification"]}, "no sequence classifier"),
        ({"architectures": None}, "no sequence classifier"),
        ({"model_type": "not-known"}, "config.json cannot be read"),
        ({"problem_type": "ranking"}, "problem_type 'ranking' is not known"),
    ],
)
def test_what_the_configuration_tells_is_refused_first(
    tiny_classifier: Path,
    tmp_path: Path,
    refused: Callable[..., str],
    config: dict[str, object],
    why: str,
) -> None:
    folder = changed(tiny_classifier, tmp_path / "model", config=config)
    # Nothing of the weights was read: they are not even safetensors.
    (folder / "model.safetensors").write_bytes(b"")
    told = refused(folder)
    assert why in told
    assert str(folder) in told


def without_head(state: Weights) -> Weights:
    return {key: value for key, value in state.items() if not key.startswith("classifier.")}


def five_rows(state: Weights) -> Weights:
    return {**state, "classifier.weight": torch.ones(5, 32), "classifier.bias": torch.ones(5)}


def without_one_layer(state: Weights) -> Weights:
    return {key: value for key, value in state.items() if ".layer.1.output." not in key}


def compiled(state: Weights) -> Weights:
    return {f"_orig_mod.{key}": value for key, value in state.items()}


def with_an_adapter(state: Weights) -> Weights:
    return {**state, "bert.encoder.layer.0.adapter.down.weight": torch.ones(4, 32)}


def not_finite(state: Weights) -> Weights:
    state["bert.embeddings.word_embeddings.weight"][7] = torch.nan
    return state


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        (without_head, "has no classifier.bias, classifier.weight"),
        (five_rows, r"classifier.bias is [5] in the weights file and [3] by config.json"),
        (without_one_layer, "has no bert.encoder.layer.1.output."),
        (compiled, "the weights file has no bert."),
        (with_an_adapter, "adapter.down.weight, which BertForSequenceClassification does not read"),
        (not_finite, "word_embeddings.weight has values that are not finite"),
    ],
)
def test_every_weight_comes_from_the_file(
    tiny_classifier: Path,
    tmp_path: Path,
    refused: Callable[..., str],
    weights: Callable[[Weights], Weights],
    why: str,
) -> None:
    assert why in refused(changed(tiny_classifier, tmp_path / "model", weights=weights))


def test_weights_that_are_cut_off_are_refused(
    tiny_classifier: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    folder = changed(tiny_classifier, tmp_path / "model")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert "the weights cannot be loaded" in refused(folder)


def test_weights_that_the_library_changed_on_the_way_are_refused(
    tiny_classifier: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = torch.equal

    def other(a: torch.Tensor, b: torch.Tensor) -> bool:
        return bool(load(a, b + 1.0))

    monkeypatch.setattr("pipelines.training.weights.torch.equal", other)
    assert "is loaded with other values than the file's" in refused(tiny_classifier)


def test_a_folder_without_a_tokenizer_is_refused(
    tiny_classifier: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    folder = changed(tiny_classifier, tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    assert "tokenizer" in refused(folder)
    (folder / "tokenizer_config.json").unlink()
    assert "has no tokenizer of its own; tokenizer.json or vocab.txt is needed" in refused(folder)


def test_a_token_without_a_row_is_refused(
    tiny_classifier: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    folder = changed(tiny_classifier, tmp_path / "model")
    tokens = AutoTokenizer.from_pretrained(folder)
    rows = len(tokens)
    tokens.add_tokens(["zzplusplus"])
    tokens.save_pretrained(folder)
    told = refused(folder)
    assert f"token 'zzplusplus' has id {rows} and the model's embedding table only {rows}" in told


def test_an_adapter_is_refused(
    tiny_classifier: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    folder = changed(tiny_classifier, tmp_path / "model")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "x"}))
    assert "is an adapter" in refused(folder)


@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00"])
def test_a_configuration_that_is_no_json_object_is_refused(
    tiny_classifier: Path, tmp_path: Path, refused: Callable[..., str], content: str
) -> None:
    folder = changed(tiny_classifier, tmp_path / "model")
    (folder / "config.json").write_text(content)
    assert "config.json" in refused(folder)


def test_options_are_checked_before_the_model_is_read(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    assert "'my model' cannot be the name" in refused(tmp_path, "--name", "my model")
    assert "--max-tokens must be at least 3" in refused(tmp_path, "--max-tokens", "2")


@pytest.fixture(scope="module")
def words(tiny_classifier: Path) -> int:
    return int(json.loads((tiny_classifier / "config.json").read_text())["vocab_size"])


def test_models_whose_batches_serving_cannot_pad_are_refused(
    tiny_classifier: Path, words: int, tmp_path: Path, refused: Callable[..., str]
) -> None:
    shared = sizes(words)
    xlnet = XLNetConfig(
        vocab_size=words, d_model=32, n_layer=1, n_head=2, d_inner=64, id2label=shared["id2label"]
    )
    folder = save_model(tmp_path / "xlnet", xlnet, tiny_classifier, padding_side="left")
    assert "xlnet model" in refused(folder)
    gpt2 = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 64, "vocab_size": words}
    config = GPT2Config(**gpt2, id2label=shared["id2label"])
    folder = save_model(tmp_path / "gpt2", config, tiny_classifier, pad_token=None)
    assert "this gpt2 model has no padding token" in refused(folder)
    # A tokenizer's padding token alone does not tell the model where a text ends.
    folder = save_model(tmp_path / "half", config, tiny_classifier)
    assert "this gpt2 model cannot score a padded batch" in refused(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("longformer", "this longformer model cannot be exported to ONNX"),
        # It is exported for the length of the example alone.
        ("funnel", "the ONNX form of this funnel model fails"),
    ],
)
def test_what_the_exporter_cannot_follow_is_a_sentence(
    tiny_classifier: Path,
    words: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    why: str,
) -> None:
    shared = sizes(words)
    config = LongformerConfig(
        **shared, max_position_embeddings=66, attention_window=8, pad_token_id=0
    )
    if kind == "funnel":
        funnel = {"d_model": 32, "n_head": 2, "d_head": 16, "d_inner": 64, "block_sizes": [1, 1]}
        config = FunnelConfig(vocab_size=words, id2label=shared["id2label"], **funnel)
    folder = save_model(tmp_path / kind, config, tiny_classifier)
    out = tmp_path / "out"
    given = ["import", str(folder), "--name", "x", "--out", str(out), "--max-tokens", "64"]
    assert main(given) == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert why in told
    assert "use an encoder such as BERT" in told
    assert str(out) not in told
    assert not list(out.glob("*"))


def test_a_vocabulary_is_whole_or_refused(
    tiny_classifier: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    folder = changed(
        tiny_classifier, tmp_path / "model", tokenizer={"tokenizer_class": "BertTokenizer"}
    )
    whole = AutoTokenizer.from_pretrained(tiny_classifier)
    vocabulary = sorted(whole.get_vocab(), key=whole.get_vocab().__getitem__)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    found = open_finished(str(folder), max_tokens=None)
    text = "the phone was lovely"
    assert found.tokenizer.encode(text).ids == whole(text)["input_ids"]
    # RoBERTa's is two files.
    (folder / "vocab.txt").rename(folder / "vocab.json")
    words = json.dumps({word: index for index, word in enumerate(vocabulary)})
    (folder / "vocab.json").write_text(words)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "RobertaTokenizer"}')
    assert "tokenizer" in refused(folder)


def test_an_output_that_cannot_be_written_is_a_sentence(
    tiny_classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("a file")
    given = ["import", str(tiny_classifier), "--name", "x", "--out", str(tmp_path / "out")]
    assert main(given) == 1
    assert f"bundles cannot be written to {tmp_path / 'out'}: FileExists" in capsys.readouterr().err


def test_a_limit_below_what_serving_needs_is_refused(
    tiny_classifier: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    folder = changed(tiny_classifier, tmp_path / "model", tokenizer={"model_max_length": 2})
    assert "takes 2 tokens at most" in refused(folder)
    assert open_finished(str(folder), max_tokens=9).spec.max_tokens == 9


def test_weights_in_several_files_are_all_there_or_refused(
    tiny_classifier: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    folder = changed(tiny_classifier, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    whole = AutoModelForSequenceClassification.from_pretrained(tiny_classifier)
    whole.save_pretrained(folder, max_shard_size="20KB")
    first, *others = sorted(folder.glob("model-*.safetensors"))
    assert others
    # A leftover that the index does not name takes no part.
    (folder / "old.safetensors").write_bytes(first.read_bytes())
    one = open_finished(str(folder), max_tokens=None)
    assert torch.equal(one.model.body.classifier.weight, whole.classifier.weight)
    (folder / "old.safetensors").unlink()
    assert open_finished(str(folder), max_tokens=None).digest == one.digest
    others[-1].unlink()
    assert "the weights cannot be loaded" in refused(folder)
