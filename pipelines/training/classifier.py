"""The torch model that is trained and exported, and its folder on disk.

Two kinds share one forward pass of (ids, mask) → logits: a bare encoder with mean pooling and a
linear head, and any Hugging Face sequence classifier. A folder holds config.json, classifier.json,
model.safetensors and tokenizer.json; nothing in it is ever unpickled or executed. `train` writes
it, `export` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)

from pipelines.errors import CheckpointError
from registry.records import Head, TruncationSide

Kind = Literal["mean-pool", "sequence-classification"]
HEAD_DROPOUT = 0.1


@dataclass(frozen=True, slots=True)
class ClassifierSpec:
    """What classifier.json says.

    Attributes:
        kind: Which of the two forward passes.
        labels: Class names in the order of the logits.
        max_tokens: Longest encoding that the model was trained for, special tokens included.
        pad_id: Token id that fills a batch's shorter rows.
        truncation_side: End at which longer texts lose tokens.
        head: What the logits mean; `train` makes the usual one alone.
    """

    kind: Kind
    labels: tuple[str, ...]
    max_tokens: int
    pad_id: int
    truncation_side: TruncationSide = "right"
    head: Head = Head()


class Classifier(nn.Module):  # type: ignore[misc]
    """An encoder or sequence classifier behind one signature.

    `forward(input_ids, attention_mask)` takes two [batch, length] int64 tensors and returns [batch,
    labels] float32 logits. Token types are left out: both BERT and its kin fill them with zeros,
    which is what one text on its own has.
    """

    def __init__(self, body: PreTrainedModel, kind: Kind, labels: int) -> None:
        super().__init__()
        self.body = body
        self.kind = kind
        self.head: nn.Linear | None = None
        self.dropout = nn.Dropout(HEAD_DROPOUT)
        if kind == "mean-pool":
            self.head = nn.Linear(body.config.hidden_size, labels)
            nn.init.normal_(self.head.weight, std=0.02)
            nn.init.zeros_(self.head.bias)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Returns [batch, labels] float32 logits."""
        output = self.body(input_ids=input_ids, attention_mask=attention_mask)
        if self.head is None:
            logits: Tensor = output.logits
            return logits
        hidden: Tensor = output.last_hidden_state
        weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1.0)
        scores: Tensor = self.head(self.dropout(pooled))
        return scores


def build(config: PretrainedConfig, kind: Kind, labels: int) -> Classifier:
    """Returns a classifier with random weights; attention is eager, which both exporter and trainer
    can follow.
    """
    # The pooler is BERT's next-sentence layer; mean pooling never reads it, and an unread weight
    # would not be exported.
    if kind == "mean-pool":
        options = {"add_pooling_layer": False} if config.model_type in {"bert", "roberta"} else {}
        body = AutoModel.from_config(config, attn_implementation="eager", **options)
    else:
        config.num_labels = labels
        body = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")
    return Classifier(body, kind, labels)


def save_classifier(
    folder: Path, model: Classifier, spec: ClassifierSpec, tokenizer: Tokenizer
) -> None:
    """Writes the four files into `folder`, which is made when missing."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(model.body.config.to_json_string())
    fields = {key: value for key, value in asdict(spec).items() if key != "head"}
    (folder / "classifier.json").write_text(json.dumps(fields, indent=2) + "\n")
    tokenizer.save(str(folder / "tokenizer.json"))


def load_classifier(folder: Path) -> tuple[Classifier, ClassifierSpec, Tokenizer]:
    """Reads what `save_classifier` wrote; the model is in evaluation mode.

    Raises:
        CheckpointError: A file is missing, or the weights are not those of the configuration.
    """
    try:
        fields = json.loads((folder / "classifier.json").read_text())
        spec = ClassifierSpec(**{**fields, "labels": tuple(fields["labels"])})
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = build(config, spec.kind, len(spec.labels))
        model.load_state_dict(load_file(folder / "model.safetensors"))
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except (OSError, KeyError, TypeError, RuntimeError) as exc:
        raise CheckpointError(f"{folder}: not a classifier folder: {exc}") from exc
    return model.eval(), spec, tokenizer


def logits_of(model: Classifier, batches: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Returns the logits of each (ids, mask) batch, on the CPU, dropout off."""
    model.eval()
    with torch.inference_mode():
        return [model(ids, mask).float() for ids, mask in batches]
