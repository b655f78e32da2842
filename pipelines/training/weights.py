"""Loads a model's weights and checks that every one came from its safetensors files.

The library fills what it does not find with random values and goes on; here that is a refusal. Half
precision is loaded as float32, which is what is exported and served.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from pipelines.data.sources import sha256_of
from pipelines.errors import CheckpointError, refusing
from pipelines.training.model_files import ModelFolder

# Parts that an encoder has for another task and that a classifier without them never reads.
_UNREAD = (".pooler.", ".position_ids")
# Layer normalisation in checkpoints of TensorFlow's age.
_RENAMED = {".gamma": ".weight", ".beta": ".bias"}

Load = Callable[..., tuple[PreTrainedModel, Mapping[str, Collection[Any]]]]


def weight_files(folder: Path) -> list[Path]:
    """Returns the safetensors files that the library loads, in order of name."""
    if (whole := folder / "model.safetensors").is_file():
        return [whole]
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return sorted(folder.glob("*.safetensors"))
    with refusing(CheckpointError, f"{index} cannot be read"):
        return sorted(
            {folder / file for file in json.loads(index.read_text())["weight_map"].values()}
        )


def weights_digest(folder: Path) -> str:
    """Returns the sha256 of the weights; of several files, over their digests in order of name."""
    digests = [sha256_of(path) for path in weight_files(folder)]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def load_weights(
    folder: ModelFolder, load: Load, *, new_head: bool, **options: Any
) -> PreTrainedModel:
    """Loads a model as float32 with eager attention and compares it with its files.

    Args:
        folder: The files.
        load: `from_pretrained` of an auto class.
        new_head: Whether what follows the encoder is to be trained, so that it may be missing or of
            another size.
        options: More of `load`.

    Raises:
        CheckpointError: A weight is missing, of another shape, not the file's or not finite, or the
            files have one that the model does not read.
    """
    name, config = folder.name, folder.config
    verbosity = transformers_logging.get_verbosity()
    # The library's report of what does not fit is a page long.
    transformers_logging.set_verbosity_error()
    try:
        with refusing(CheckpointError, f"{name}: the weights cannot be loaded"):
            # Sizes that differ are reported like the rest, and refused below.
            model, found = load(
                folder.path,
                config=config,
                dtype=torch.float32,
                attn_implementation="eager",
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **options,
            )
    finally:
        transformers_logging.set_verbosity(verbosity)

    def trainable(key: str) -> bool:
        outside = hasattr(model, model.base_model_prefix) and not key.startswith(
            f"{model.base_model_prefix}."
        )
        return new_head and (outside or ".pooler." in f".{key}")

    if missing := sorted(key for key in found["missing_keys"] if not trainable(key)):
        raise CheckpointError(f"{name}: the weights file has no {_some(missing)}")
    shapes = [item for item in found["mismatched_keys"] if not trainable(item[0])]
    if shapes:
        key, stored, wanted = sorted(shapes)[0]
        raise CheckpointError(
            f"{name}: {key} is {list(stored)} in the weights file and {list(wanted)} by "
            f"config.json, which has {config.num_labels} labels"
        )
    unread = sorted(
        key for key in found["unexpected_keys"] if not any(part in f".{key}" for part in _UNREAD)
    )
    if unread and not new_head:
        raise CheckpointError(
            f"{name}: the weights file has {_some(unread)}, which {type(model).__name__} does not "
            "read"
        )
    _compare(name, model, folder.path, trainable)
    return model


def stored_types(folder: Path) -> list[str]:
    """Returns the types of the stored weights, such as ``F16``, sorted."""
    found = set()
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as tensors:
            found |= {tensors.get_slice(key).get_dtype() for key in tensors.keys()}  # noqa: SIM118
    return sorted(found)


def usable_tokens(model: PreTrainedModel) -> int | None:
    """Returns the longest encoding that the model has positions for; None without a limit.

    That is the number of rows of its position table. Where positions begin behind the padding
    token's (RoBERTa and its kin), the rows up to that one are never used.
    """
    limits = [getattr(model.config, "max_position_embeddings", None)]
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if isinstance(module, nn.Embedding) and ("position" in last or last == "wpe"):
            padding = module.padding_idx
            unused = getattr(module, "offset", 0) if padding is None else padding + 1
            limits.append(module.num_embeddings - unused)
    return min((n for n in limits if isinstance(n, int) and n > 0), default=None)


def _compare(
    name: str, model: PreTrainedModel, folder: Path, trainable: Callable[[str], bool]
) -> None:
    for key, value in model.named_parameters():
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{name}: {key} has values that are not finite numbers")
    state = model.state_dict()
    for key, stored in _tensors(folder):
        loaded = _find(state, key, model.base_model_prefix)
        if loaded is None or trainable(key) or loaded.shape != stored.shape:
            continue
        if not torch.equal(loaded, stored.to(loaded.dtype)):
            raise CheckpointError(f"{name}: {key} is loaded with other values than the file's")


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118
                yield key, tensors.get_tensor(key)


def _find(state: Mapping[str, Tensor], key: str, prefix: str) -> Tensor | None:
    """The loaded tensor of a stored name; None where the library converts it on the way."""
    for old, new in _RENAMED.items():
        if key.endswith(old) and key not in state:
            key = key.removesuffix(old) + new
    names = (key, f"{prefix}.{key}", key.removeprefix(f"{prefix}."))
    return next((state[name] for name in names if name in state), None)


def _some(keys: Collection[str]) -> str:
    shown = ", ".join(list(keys)[:3])
    return shown if len(keys) <= 3 else f"{shown} and {len(keys) - 3} more"
