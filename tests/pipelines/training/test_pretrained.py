"""The base of a new classifier: an encoder whose every weight came from its files."""

from pathlib import Path

import pytest
from transformers import AutoModel

from pipelines.errors import CheckpointError
from pipelines.training.pretrained import open_pretrained
from tests.pipelines.export.huggingface_models import Weights, changed

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def compiled(state: Weights) -> Weights:
    return {f"_orig_mod.{key}": value for key, value in state.items()}


def without_a_layer(state: Weights) -> Weights:
    return {key: value for key, value in state.items() if "encoder.layer.1." not in key}


def without_head(state: Weights) -> Weights:
    return {
        key: value
        for key, value in state.items()
        if not key.startswith("classifier.") and ".pooler." not in key
    }


@pytest.mark.parametrize("weights", [compiled, without_a_layer])
@pytest.mark.parametrize("base", ["tiny_base", "tiny_classifier"])
def test_an_encoder_that_would_be_random_is_refused(
    base: str, weights: object, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = changed(request.getfixturevalue(base), tmp_path / "model", weights=weights)
    with pytest.raises(CheckpointError, match="the weights file has no "):
        open_pretrained(str(folder), labels=["a", "b"], max_tokens=64)


def test_a_head_may_be_missing_or_of_another_size(tiny_classifier: Path, tmp_path: Path) -> None:
    folder = changed(tiny_classifier, tmp_path / "model", weights=without_head)
    found = open_pretrained(str(folder), labels=["a", "b"], max_tokens=64)
    assert found.spec.labels == ("a", "b")
    whole = open_pretrained(str(tiny_classifier), labels=["a", "b"], max_tokens=64)
    assert whole.spec.max_tokens == 64
    assert whole.digest != found.digest


def test_a_bare_encoder_may_be_saved_without_its_prefix(
    tiny_classifier: Path, tmp_path: Path
) -> None:
    folder = changed(tiny_classifier, tmp_path / "model", config={"architectures": ["BertModel"]})
    AutoModel.from_pretrained(tiny_classifier).save_pretrained(folder)
    assert open_pretrained(str(folder), labels=["a", "b"], max_tokens=9).spec.max_tokens == 9


def test_a_base_without_a_tokenizer_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    folder = changed(tiny_base, tmp_path / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(CheckpointError, match="has no tokenizer of its own"):
        open_pretrained(str(folder), labels=["a", "b"], max_tokens=64)
