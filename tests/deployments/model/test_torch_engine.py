"""The PyTorch engine gives the logits that the same weights give in Hugging Face's hands."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.model.engines import open_engine

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from torch_bundle import BERT, PAD_ID, bundle_of  # noqa: E402

from deployments.model.engines.cuda_graphs import CudaGraphs  # noqa: E402
from deployments.model.engines.layouts import Packed, Padded, Shape, step_up  # noqa: E402
from deployments.model.engines.torch import TorchEngine  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

LENGTHS = (3, 25, 1, 17, 40, 8, 8)
DISTILBERT = {
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 64,
    "vocab_size": 90,
    "pad_token_id": PAD_ID,
    "num_labels": 3,
    "initializer_range": 0.5,
}
CONFIGS: dict[str, Callable[[], Any]] = {
    "bert": lambda: transformers.BertConfig(**BERT),
    "distilbert": lambda: transformers.DistilBertConfig(**DISTILBERT),
    "electra": lambda: transformers.ElectraConfig(**BERT, embedding_size=32),
    "roberta": lambda: transformers.RobertaConfig(**BERT),
    "camembert": lambda: transformers.CamembertConfig(**BERT),
    "xlm-roberta": lambda: transformers.XLMRobertaConfig(**BERT),
    # Its attention knows relative positions, so it cannot be packed.
    "mpnet": lambda: transformers.MPNetConfig(**BERT),
}


def batch(lengths: tuple[int, ...] = LENGTHS) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    ids = np.where(mask == 1, rng.integers(5, 90, mask.shape), PAD_ID).astype(np.int64)
    return ids, mask


def expected(model: Any, ids: Any, mask: Any) -> Any:
    with torch.inference_mode():
        output = model(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
    return output.logits.numpy()


@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_says_what_the_library_says(tmp_path: Path, family: str) -> None:
    model, bundle = bundle_of(tmp_path, CONFIGS[family]())
    ids, mask = batch()
    engine = open_engine(bundle)
    assert isinstance(engine, TorchEngine)
    assert isinstance(engine.layout, Padded if family == "mpnet" else Packed)
    logits = engine.run(ids, mask)
    assert logits.shape == (len(LENGTHS), 3)
    assert logits.dtype == np.float32
    reference = expected(model, ids, mask)
    assert np.abs(reference - reference[0]).max() > 0.1
    assert np.allclose(logits, reference, atol=1e-4)
    # Alone, unpadded: the same.
    assert np.allclose(engine.run(ids[:1, :3], mask[:1, :3])[0], logits[0], atol=1e-4)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_the_padding_token_as_a_word_is_placed_as_in_the_library(
    tmp_path: Path, family: str
) -> None:
    model, bundle = bundle_of(tmp_path, CONFIGS[family]())
    ids, mask = batch()
    ids[mask.sum(axis=1) > 6, 3] = PAD_ID
    logits = open_engine(bundle).run(ids, mask)
    assert np.allclose(logits, expected(model, ids, mask), atol=1e-4)


def test_padded_says_what_packed_says(tmp_path: Path) -> None:
    _, bundle = bundle_of(tmp_path, CONFIGS["bert"]())
    options: Any = {"provider": "cpu", "threads": 1, "gpu_share": 0}
    packed = TorchEngine(bundle, **options)
    padded = TorchEngine(bundle, **options, packed=False)
    assert isinstance(padded.layout, Padded)
    ids, mask = batch()
    assert np.allclose(packed.run(ids, mask), padded.run(ids, mask), atol=1e-4)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("lengths", [LENGTHS, (16,), (16, 16), (5, 60, 3)])
def test_what_fills_a_bucket_changes_no_row(
    tmp_path: Path, packed: bool, lengths: tuple[int, ...]
) -> None:
    model, bundle = bundle_of(tmp_path, CONFIGS["roberta"]())
    engine = TorchEngine(bundle, provider="cpu", threads=1, gpu_share=0, packed=packed)
    ids, mask = batch(lengths)
    shape = engine.layout.shape(mask, bucket=True)
    assert shape.rows >= len(lengths)
    assert shape.cells >= mask.sum()
    vector = engine.layout.vector(ids, mask, shape)
    with torch.inference_mode():
        logits = engine.layout.forward(torch.from_numpy(vector), shape).numpy()
    assert np.allclose(logits[: len(lengths)], expected(model, ids, mask), atol=1e-4)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_keeps_the_labels(tmp_path: Path, precision: str) -> None:
    # The bundled model's size, and weights whose answers lie well apart.
    sizes = {
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
        "initializer_range": 0.1,
    }
    model, bundle = bundle_of(tmp_path, transformers.BertConfig(**BERT | sizes), precision)
    ids, mask = batch()
    logits = open_engine(bundle).run(ids, mask)
    assert logits.dtype == np.float32
    reference = expected(model, ids, mask)
    # A random head leans to one label; without its lean the rows disagree.
    lean = reference.mean(axis=0)
    labels = (reference - lean).argmax(axis=1)
    assert len(set(labels)) > 1
    assert ((logits - lean).argmax(axis=1) == labels).all()
    # Not FP32 under another name.
    assert np.abs(logits - reference).max() > 1e-3


def test_steps_fill_up_at_most_an_eighth() -> None:
    for count in range(1, 20_000, 7):
        step = step_up(count)
        assert count <= step <= max(count + 15, count * 9 / 8 + 1)
    assert len({step_up(count) for count in range(1, 16_385)}) <= 64


def test_cuda_is_refused_where_torch_has_none(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    _, bundle = bundle_of(tmp_path, CONFIGS["bert"]())
    with pytest.raises(RuntimeError, match="torch sees no CUDA device"):
        open_engine(bundle, provider="cuda", gpu_share=1)


def test_graphs_are_bounded_in_number_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    graphs = CudaGraphs(lambda vector, shape: vector, max_graphs=1, max_cells=64)
    assert graphs.takes(Shape(1, 64, 64))
    assert not graphs.takes(Shape(1, 65, 65))
    graphs._captured[Shape(1, 16, 16)] = None
    assert graphs.takes(Shape(1, 16, 16))
    assert not graphs.takes(Shape(1, 32, 32))
