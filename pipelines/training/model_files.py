"""Opens the folder of a Hugging Face model: what it must hold, its configuration, its tokenizer.

Used by `train` (any base) and `import` (a finished classifier); `weights` comes next. No code of
the model's author is run, and a vocabulary that the files do not hold is a refusal: the library
would make an empty one and go on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig

from pipelines.errors import CheckpointError, refusing

TOKENIZER_JSON = "tokenizer.json"
_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model"]
# The library writes 1e30 where a tokenizer has no limit.
_NO_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model's files, checked by `open_folder`.

    Attributes:
        name: What the user called it; every refusal begins with it.
        path: Where the files are.
        config: config.json, read by the library.
    """

    name: str
    path: Path
    config: PretrainedConfig


def open_folder(name: str) -> ModelFolder:
    """Reads the configuration of a local folder or of a model on the Hugging Face hub.

    Raises:
        CheckpointError: It needs pickle or foreign code, or its configuration cannot be read.
    """
    path = Path(name)
    if not path.is_dir():
        with refusing(CheckpointError, f"{name}: is no folder and cannot be had from the hub"):
            path = Path(snapshot_download(name, allow_patterns=_WANTED, ignore_patterns="*/*"))
    refuse_unsafe(path, name)
    with refusing(CheckpointError, f"{name}: config.json cannot be read"):
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    return ModelFolder(name, path, config)


def refuse_unsafe(folder: Path, name: str) -> None:
    """Checks that a folder's weights are safetensors, whole, and that it brings no code.

    Raises:
        CheckpointError: Only pickled, quantised or no weights, an adapter without its base, or a
            configuration that names code of its own.
    """
    fields = raw_config(folder, name)
    if fields.get("auto_map"):
        raise CheckpointError(
            f"{name}: config.json asks for code of its own (auto_map, trust_remote_code); refused"
        )
    if fields.get("quantization_config"):
        raise CheckpointError(
            f"{name}: its weights are quantised (quantization_config); save it in full precision"
        )
    if (folder / "adapter_config.json").is_file():
        raise CheckpointError(
            f"{name}: is an adapter (adapter_config.json); merge it into its base model "
            "(merge_and_unload) and save that"
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
            f"{name}: {found}; convert it to model.safetensors (save_pretrained does)"
        )


def raw_config(folder: Path, name: str) -> Mapping[str, Any]:
    """Returns the object in config.json as it was written.

    Raises:
        CheckpointError: There is none.
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{name}: no config.json")
    with refusing(CheckpointError, f"{name}: config.json cannot be read"):
        fields = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not isinstance(fields, dict):
        raise CheckpointError(f"{name}: config.json is no object")
    return fields


def read_tokenizer(folder: ModelFolder) -> Any:
    """Returns the library's fast tokenizer, whose vocabulary came from the folder.

    Raises:
        CheckpointError: The folder has none, or the model has no row for one of its ids.
    """
    name = folder.name
    with refusing(CheckpointError, f"{name}: its tokenizer cannot be read"):
        tokens = AutoTokenizer.from_pretrained(
            folder.path, local_files_only=True, trust_remote_code=False, use_fast=True
        )
    if not tokens.is_fast:
        raise CheckpointError(
            f"{name}: has no fast tokenizer (tokenizer.json), which serving needs"
        )
    files = {name for key, name in tokens.vocab_files_names.items() if key != "tokenizer_file"}
    if not (folder.path / TOKENIZER_JSON).is_file() and not (
        files and all((folder.path / file).is_file() for file in files)
    ):
        wanted = " or ".join(filter(None, (TOKENIZER_JSON, " with ".join(sorted(files)))))
        raise CheckpointError(
            f"{name}: has no tokenizer of its own; {wanted} is needed "
            "(tokenizer.save_pretrained writes it)"
        )
    rows = getattr(folder.config, "vocab_size", None)
    if isinstance(rows, int):
        require_rows(name, tokens, rows)
    return tokens


def require_rows(name: str, tokens: Any, rows: int) -> None:
    """Checks that every token id, added tokens included, has a row of the embedding table.

    Raises:
        CheckpointError: One has none.
    """
    token, highest = max(tokens.get_vocab().items(), key=lambda item: item[1])
    if highest >= rows:
        raise CheckpointError(
            f"{name}: token {token!r} has id {highest} and the model's embedding table only {rows} "
            "rows; call resize_token_embeddings(len(tokenizer)), train, and save again"
        )


def tokenizer_limit(tokens: Any) -> int | None:
    """Returns the longest encoding that the tokenizer's own settings allow; None without one."""
    limit = int(tokens.model_max_length)
    return limit if 0 < limit < _NO_LIMIT else None
