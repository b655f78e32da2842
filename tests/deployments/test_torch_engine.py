"""The PyTorch engine gives the logits that the same weights give in Hugging Face's hands."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.models import WordLevel

from deployments.engines import open_engine
from registry.bundle import write_bundle
from registry.records import EngineHints

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_logits_and_padding(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=3,
    )
    model = transformers.BertForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path / "hf")
    RustTokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]")).save(str(tmp_path / "tokenizer.json"))
    bundle = write_bundle(
        tmp_path / "bundle",
        name="tiny",
        labels=("a", "b", "c"),
        files={
            "model.safetensors": tmp_path / "hf" / "model.safetensors",
            "config.json": tmp_path / "hf" / "config.json",
            "tokenizer.json": tmp_path / "tokenizer.json",
        },
        max_tokens=32,
        engine=EngineHints("torch", "fp32", ("input_ids", "attention_mask"), 0),
    )
    engine = open_engine(bundle, provider="auto")
    ids = np.array([[5, 6, 7, 0], [8, 9, 10, 11]], dtype=np.int64)
    mask = np.array([[1, 1, 1, 0], [1, 1, 1, 1]], dtype=np.int64)
    logits = engine.run(ids, mask)
    assert logits.shape == (2, 3)
    assert logits.dtype == np.float32
    assert engine.run(ids[:1, :3], mask[:1, :3])[0] == pytest.approx(logits[0], abs=1e-5)
    with torch.inference_mode():
        expected = model(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits
    assert np.allclose(logits, expected.numpy(), atol=1e-5)
