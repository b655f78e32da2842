"""Opens a finished Hugging Face classifier for `import`, or says in a sentence why serving cannot
answer as the model does.

What config.json tells is refused first, before a weight is read. Then every weight and the
vocabulary must have come from the files, limits and the side of the cut are taken from them, and
the model must score a padded text like the text alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification

from pipelines.errors import CheckpointError, refusing
from pipelines.export.bundles import ENCODERS, OTHER_ENCODER
from pipelines.export.heads import HeadOptions, head_of
from pipelines.export.parity import LOGIT_TOLERANCE, FloatArray, largest_difference
from pipelines.training.classifier import Classifier, ClassifierSpec
from pipelines.training.model_files import (
    ModelFolder,
    open_folder,
    raw_config,
    read_tokenizer,
    require_rows,
    tokenizer_limit,
)
from pipelines.training.pretrained import is_classifier, plain_tokenizer
from pipelines.training.weights import load_weights, stored_types, usable_tokens, weights_digest

# Attention takes the square of it: a model of 8,192 positions would need gigabytes for one text.
DEFAULT_MAX_TOKENS = 2_048
MIN_TOKENS = 3


@dataclass(frozen=True, slots=True)
class Finished:
    """A classifier as its files define it.

    Attributes:
        model: In evaluation mode, float32.
        spec: Labels and limits that serving will use.
        tokenizer: Truncation and padding off.
        digest: sha256 of the weights.
        model_type: The architecture by its configuration.
        stored: Types of the stored weights.
        positions: Tokens that the model has positions for; None without a limit.
        tokenizer_tokens: Longest encoding by the tokenizer's settings; None without a limit.
        tokens: The library's tokenizer.
        pads: Whether texts of different lengths may share a batch.
    """

    model: Classifier
    spec: ClassifierSpec
    tokenizer: Tokenizer
    digest: str
    model_type: str
    stored: tuple[str, ...]
    positions: int | None
    tokenizer_tokens: int | None
    tokens: Any
    pads: bool = True

    def reference(self, texts: Sequence[str]) -> FloatArray:
        """Returns [texts, labels] float32 logits by the library alone: its tokenizer with all that
        it adds, its model, one text at a time.
        """
        rows = []
        with torch.inference_mode():
            for text in texts:
                inputs = self.tokens(
                    text, truncation=True, max_length=self.spec.max_tokens, return_tensors="pt"
                )
                rows.append(self.model.body(**inputs).logits.float().numpy())
        return np.concatenate(rows)

    def describe(self) -> str:
        """Returns the same for people."""
        spec = self.spec
        labels = ", ".join(spec.labels[:10]) + (", …" if len(spec.labels) > 10 else "")
        return (
            f"found: {self.model_type}, {len(spec.labels)} labels ({labels}), weights "
            f"{' '.join(self.stored)}, {self.positions or 'no limit of'} positions, tokenizer "
            f"limit {self.tokenizer_tokens or 'none'}\n"
            f"chosen: float32, at most {spec.max_tokens} tokens, longer texts are cut at the "
            f"{'end' if spec.truncation_side == 'right' else 'beginning'}, "
            f"padding token {spec.pad_id}, {_meaning(spec)}"
        )

    def facts(self) -> dict[str, object]:
        """What was found in the files and what was chosen, by name."""
        return {
            "model_type": self.model_type,
            "labels": list(self.spec.labels),
            "task": self.spec.head.task,
            "activation": self.spec.head.activation,
            "thresholds": list(self.spec.head.thresholds),
            "stored_weights": list(self.stored),
            "loaded_weights": "F32",
            "model_positions": self.positions,
            "tokenizer_max_tokens": self.tokenizer_tokens,
            "max_tokens": self.spec.max_tokens,
            "truncation_side": self.spec.truncation_side,
            "pad_id": self.spec.pad_id,
            "texts_share_batches": self.pads,
        }


def open_finished(
    name: str,
    *,
    max_tokens: int | None,
    head: HeadOptions = HeadOptions(),  # noqa: B008  (frozen)
    padded: bool = True,
) -> Finished:
    """Opens a finished classifier.

    Args:
        name: A folder, or a name on the Hugging Face hub.
        max_tokens: Longest encoding; None takes the smaller of the model's and the tokenizer's own
            limit, at most ``DEFAULT_MAX_TOKENS``. A model with fewer positions lowers it.
        head: What the user says of the outputs.
        padded: Refuse a model whose answer depends on padding; else it only is told
            (``Finished.pads``).

    Raises:
        CheckpointError: Serving would not answer as the model does; the message says why.
    """
    folder = open_folder(name)
    outputs = _outputs(folder)
    raw = raw_config(folder.path, name)
    labels, kind = head_of(name, folder.config, raw, outputs, head)
    tokens = read_tokenizer(folder)
    pad_id = _pad_id(folder, tokens, padded=padded)
    _require_plain_types(folder, tokens)
    body = load_weights(folder, AutoModelForSequenceClassification.from_pretrained, new_head=False)
    rows = body.get_input_embeddings().weight.shape[0]
    require_rows(name, tokens, rows)
    positions, limit = usable_tokens(body), tokenizer_limit(tokens)
    wanted = max_tokens or min(limit or DEFAULT_MAX_TOKENS, DEFAULT_MAX_TOKENS)
    most = min(wanted, positions or wanted)
    if most < MIN_TOKENS:
        raise CheckpointError(
            f"{name}: takes {most} tokens at most (positions {positions}, tokenizer's "
            f"model_max_length {limit}); serving needs {MIN_TOKENS}; --max-tokens overrules the "
            "tokenizer"
        )
    spec = ClassifierSpec(
        "sequence-classification",
        labels,
        most,
        pad_id if pad_id is not None and pad_id < rows else 0,
        "left" if tokens.truncation_side == "left" else "right",
        kind,
    )
    found = Finished(
        Classifier(body, "sequence-classification", len(outputs)).eval(),
        spec,
        plain_tokenizer(tokens),
        weights_digest(folder.path),
        folder.config.model_type,
        tuple(stored_types(folder.path)),
        positions,
        limit,
        tokens,
    )
    if not padded and pad_id is None:
        return replace(found, pads=False)
    try:
        _require_padding_ignored(name, found)
    except CheckpointError:
        if padded:
            raise
        return replace(found, pads=False)
    return found


def _outputs(folder: ModelFolder) -> tuple[str, ...]:
    """The names of the outputs in their order; refuses a configuration that contradicts itself."""
    name, config = folder.name, folder.config
    if not is_classifier(config):
        raise CheckpointError(
            f"{name}: {config.architectures} is no sequence classifier; "
            f"train one with `sentigraph train --base`"
        )
    raw = raw_config(folder.path, name)
    named = raw.get("id2label")
    if named is not None and raw.get("num_labels") not in (None, len(named)):
        raise CheckpointError(
            f"{name}: config.json has num_labels {raw['num_labels']} and {len(named)} labels in "
            "id2label"
        )
    if sorted(config.id2label) != list(range(len(config.id2label))):
        raise CheckpointError(
            f"{name}: the numbers in id2label must be 0 to {len(config.id2label) - 1}, one for "
            f"each output; they are {sorted(config.id2label)[:10]}"
        )
    labels = tuple(str(config.id2label[index]) for index in range(len(config.id2label)))
    if repeated := sorted({label for label in labels if labels.count(label) > 1}):
        raise CheckpointError(
            f"{name}: id2label gives {', '.join(map(repr, repeated[:5]))} to more than one output; "
            "give each class a name of its own"
        )
    return labels


def _meaning(spec: ClassifierSpec) -> str:
    head, labels = spec.head, spec.labels
    if head.task == "single_label":
        return f"one label of {len(labels)} by {head.activation}"
    if head.task == "regression":
        return "values as they are" if head.activation == "none" else "values by sigmoid"
    pairs = list(zip(labels, head.thresholds, strict=True))
    shown = ", ".join(f"{label} from {threshold:g}" for label, threshold in pairs[:10])
    return f"labels each by itself ({shown}{', …' if len(pairs) > 10 else ''})"


def _pad_id(folder: ModelFolder, tokens: Any, *, padded: bool) -> int | None:
    """The id that the model takes for padding: some find a text's end by it. None without one."""
    of_model = getattr(folder.config, "pad_token_id", None)
    if isinstance(of_model, int) and of_model >= 0:
        return of_model
    if not padded and (tokens.pad_token_id is None or not hasattr(folder.config, "pad_token_id")):
        return None
    if tokens.pad_token_id is None:
        raise CheckpointError(
            f"{folder.name}: this {folder.config.model_type} model has no padding token, which "
            "batches need; set pad_token in its tokenizer and pad_token_id in config.json, or "
            "serve it by PyTorch with --engine torch"
        )
    return int(tokens.pad_token_id)


def _require_plain_types(folder: ModelFolder, tokens: Any) -> None:
    with refusing(CheckpointError, f"{folder.name}: its tokenizer cannot encode a text"):
        encoded = tokens("a text")
    if any(encoded.get("token_type_ids", ())):
        raise CheckpointError(
            f"{folder.name}: the tokenizer of this {folder.config.model_type} model gives one text "
            f"token types other than 0, which serving leaves out; {ENCODERS}"
        )


def _require_padding_ignored(name: str, found: Finished) -> None:
    """Runs a text of the greatest length and a short one, alone and padded to the first."""
    what = f"{name}: this {found.model_type} model cannot score a padded batch of "
    what += f"{found.spec.max_tokens} tokens"
    texts = ["a " * found.spec.max_tokens, "a text"]
    with refusing(CheckpointError, what, OTHER_ENCODER):
        alone = found.reference(texts)
        rows = [
            found.tokens(text, truncation=True, max_length=found.spec.max_tokens)["input_ids"]
            for text in texts
        ]
        ids = torch.full((2, max(map(len, rows))), found.spec.pad_id, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = torch.tensor(row)
            mask[at, : len(row)] = 1
        with torch.inference_mode():
            padded = found.model(ids, mask).float().numpy()
    outputs = found.spec.head.outputs(len(found.spec.labels))
    if alone.shape[-1] != outputs:
        raise CheckpointError(
            f"{name}: the model gives {alone.shape[-1]} outputs for {outputs} labels"
        )
    difference, allowed = largest_difference(alone, padded, LOGIT_TOLERANCE)
    if not difference <= allowed:
        raise CheckpointError(
            f"{name}: padding a text changes a logit of this {found.model_type} model by "
            f"{difference:.1e}, so a text's answer would depend on its batch; {OTHER_ENCODER}"
        )
