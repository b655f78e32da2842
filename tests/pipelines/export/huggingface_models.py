"""Tiny Hugging Face classifiers with random weights, each as a user might have saved it."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification, PretrainedConfig, set_seed

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
Weights = dict[str, torch.Tensor]


def save_model(folder: Path, config: PretrainedConfig, tokenizer_of: Path, **options: Any) -> Path:
    """Writes a classifier of the configuration's kind with the words of another folder."""
    # Imported here: the class lies on top of everything else in the library.
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    words = Tokenizer.from_file(str(tokenizer_of / "tokenizer.json"))
    words.no_truncation()
    PreTrainedTokenizerFast(tokenizer_object=words, **{**SPECIAL, **options}).save_pretrained(
        folder
    )
    set_seed(7)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


def sizes(words: int, labels: Sequence[str] = ("bug", "praise", "question")) -> dict[str, Any]:
    """What the configurations of BERT's kin have in common."""
    return {
        "vocab_size": words,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "initializer_range": 0.3,
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }


def changed(
    original: Path,
    folder: Path,
    *,
    config: dict[str, Any] | None = None,
    tokenizer: dict[str, Any] | None = None,
    weights: Callable[[Weights], Weights] | None = None,
) -> Path:
    """Copies a folder and changes fields of its JSON files or its weights; None deletes a field."""
    shutil.copytree(original, folder)
    for name, fields in (("config.json", config), ("tokenizer_config.json", tokenizer)):
        if fields is not None:
            kept = {**json.loads((folder / name).read_text()), **fields}
            kept = {key: value for key, value in kept.items() if value is not None}
            (folder / name).write_text(json.dumps(kept))
    if weights is not None:
        path = folder / "model.safetensors"
        state = {key: value.contiguous() for key, value in weights(load_file(path)).items()}
        save_file(state, path, metadata={"format": "pt"})
    return folder
