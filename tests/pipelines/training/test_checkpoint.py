"""What training goes on from, and what it does for labels that are rare."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from transformers import BertConfig

from pipelines.data.table import Row
from pipelines.errors import CheckpointError
from pipelines.export.onnx_graph import export_fp32
from pipelines.training.checkpoint import check_labels
from pipelines.training.classifier import ClassifierSpec, build
from pipelines.training.decision_bias import add_offsets, tuned_offsets
from pipelines.training.onnx_weights import read_onnx_weights
from pipelines.training.train import label_weights

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
BUNDLED = Path(__file__).parents[3] / "models" / "sentiment" / "model.onnx"


def _tiny(labels: int = 2) -> tuple[torch.nn.Module, ClassifierSpec]:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    model = build(config, "mean-pool", labels).eval()
    return model, ClassifierSpec("mean-pool", ("a", "b", "c")[:labels], 32, 0)


def test_an_exported_graph_gives_its_weights_back(tmp_path: Path) -> None:
    model, _ = _tiny()
    # The exporter merges equal tensors, such as the biases of a model that was never trained.
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 0.1)
    export_fp32(model, tmp_path / "model.onnx", max_tokens=32)
    found = read_onnx_weights(tmp_path / "model.onnx", model.state_dict())
    for name, value in model.state_dict().items():
        assert torch.allclose(found[name].float(), value.float()), name


def test_the_bundled_8_bit_graph_has_every_weight_of_its_architecture() -> None:
    config = BertConfig(
        vocab_size=30522,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        max_position_embeddings=512,
    )
    model = build(config, "mean-pool", 2)
    found = read_onnx_weights(BUNDLED, model.state_dict())
    assert found.keys() == model.state_dict().keys()
    graph = onnx.load(str(BUNDLED)).graph
    scale = next(i for i in graph.initializer if i.name.endswith("word_embeddings.weight_scale"))
    step = float(onnx.numpy_helper.to_array(scale))
    words = found["body.embeddings.word_embeddings.weight"].numpy()
    assert np.allclose(words / step, np.round(words / step), atol=1e-3)
    with pytest.raises(CheckpointError, match=r"no weights head\.weight of shape"):
        read_onnx_weights(BUNDLED, build(config, "mean-pool", 3).state_dict())


def test_other_labels_are_refused_by_name() -> None:
    check_labels(("a", "b"), ("a", "b"), "m@champion")
    with pytest.raises(CheckpointError, match="m@champion has the labels a, b, the data 0, 1"):
        check_labels(("a", "b"), ("0", "1"), "m@champion")


def test_rare_labels_weigh_as_much_as_frequent_ones() -> None:
    rows = [Row(str(at), "rare" if at < 10 else "often", None, "all") for at in range(100)]
    weights = label_weights(rows)
    assert weights.mean() == pytest.approx(1)
    assert weights[:10].sum() == pytest.approx(weights[10:].sum())


def test_tuned_limits_become_part_of_the_last_layer() -> None:
    random = np.random.default_rng(1)
    truth = np.repeat([0, 1], [900, 100])
    # Of the rare label half the texts are just on the wrong side.
    margin = np.where(truth == 1, random.normal(-0.5, 1, 1000), random.normal(-4, 1, 1000))
    logits = np.stack([np.zeros(1000), margin], axis=1)
    offsets = tuned_offsets(logits, truth)
    assert (logits.argmax(axis=1) == truth)[900:].mean() < 0.5
    assert ((logits + offsets).argmax(axis=1) == truth)[900:].mean() > 0.8
    assert ((logits + offsets).argmax(axis=1) == truth)[:900].mean() > 0.95

    model, _ = _tiny()
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        before = model(ids, torch.ones_like(ids)).numpy()
        add_offsets(model, offsets)
        after = model(ids, torch.ones_like(ids)).numpy()
    assert np.allclose(after - before, offsets, atol=1e-5)


def test_perfect_limits_stay() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 2.0]])
    assert tuned_offsets(logits, np.array([0, 1])).tolist() == [0.0, 0.0]
