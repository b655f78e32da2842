"""The registry's nouns: frozen records that cross module and process boundaries.

A bundle is identified by its digest (sha256 of its canonical ``bundle.json``); a
model version by (name, version, digest), never by the version number alone, because
MLflow starts again at 1 when a model is deleted and made anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class EngineHints:
    """How the model file wants to be run.

    Attributes:
        kind: ``onnx`` (``model.onnx``) or ``torch`` (``model.safetensors`` + ``config.json``).
        precision: Weight precision of the file, for display and for metrics labels.
        inputs: Input names in call order; a subset of ``input_ids``, ``attention_mask``,
            ``token_type_ids``.
        pad_id: Token id that fills a row up to the batch's length.
    """

    kind: Literal["onnx", "torch"]
    precision: Literal["fp32", "fp16", "bf16", "int8"]
    inputs: tuple[str, ...]
    pad_id: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: every file's sha256 has been checked.

    Attributes:
        directory: Where the files are.
        digest: sha256 (64 hex digits) of the canonical ``bundle.json``.
        name: Name given when it was written; a registry may use another.
        labels: Class names; position is the column of the logits.
        max_tokens: Longest input in tokens, special tokens included; longer is truncated.
        temperature: Logits are divided by it before softmax (Guo et al. 2017).
        engine: How to run the model file.
        metrics: Evaluation figures by name.
        provenance: Where it came from: data and recipe digests, base model, tool versions.
        files: Relative file name to (sha256, bytes).
    """

    directory: Path
    digest: str
    name: str
    labels: tuple[str, ...]
    max_tokens: int
    temperature: float
    engine: EngineHints
    metrics: Mapping[str, float]
    provenance: Mapping[str, str]
    files: Mapping[str, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One registered version and where its bundle lies.

    Attributes:
        name: Registered model name.
        version: MLflow's number, from 1.
        digest: The bundle's digest.
        labels: Class names in logit order.
        stage: ``draft``, ``staging``, ``production`` or ``archived``.
        aliases: Aliases that point here, sorted.
        uri: Where the registry keeps the bundle's files.
        created_s: Unix time of registration, seconds.
    """

    name: str
    version: int
    digest: str
    labels: tuple[str, ...]
    stage: str
    aliases: tuple[str, ...]
    uri: str
    created_s: float
