"""A tiny random Hugging Face classifier and its PyTorch bundle; needs torch and transformers."""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.models import WordLevel

from registry.bundles.bundle import write_bundle
from registry.records import Bundle, EngineHints

PAD_ID = 1
BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 90,
    "pad_token_id": PAD_ID,
    "num_labels": 3,
    # Answers that lie well apart, so that a wrong row shows.
    "initializer_range": 0.5,
}


def bundle_of(folder: Path, config: Any, precision: Any = "fp32") -> tuple[Any, Bundle]:
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    model.save_pretrained(folder / "hf")
    RustTokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]")).save(str(folder / "tokenizer.json"))
    bundle = write_bundle(
        folder / "bundle",
        name="tiny",
        labels=("a", "b", "c"),
        files={
            "model.safetensors": folder / "hf" / "model.safetensors",
            "config.json": folder / "hf" / "config.json",
            "tokenizer.json": folder / "tokenizer.json",
        },
        max_tokens=64,
        engine=EngineHints("torch", precision, ("input_ids", "attention_mask"), PAD_ID),
    )
    return model, bundle
