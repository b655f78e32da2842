"""The schema of ``bundle.json``, which ``bundle.py`` reads and writes."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from registry.records import Activation, Task, TruncationSide

NAME = r"^[\w.\-]+$"
ACTIVATIONS: dict[Task, tuple[Activation, ...]] = {
    "single_label": ("softmax", "sigmoid"),
    "multi_label": ("sigmoid",),
    "regression": ("none", "sigmoid"),
}


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class _Engine(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["onnx", "torch"]
    precision: Literal["fp32", "fp16", "bf16", "int8"]
    inputs: tuple[str, ...] = Field(min_length=1)
    pad_id: int = Field(ge=0)
    # Bundles older than the field: their 8-bit files scale activations over the batch.
    batch_invariant: bool = Field(default_factory=lambda data: data["precision"] != "int8")
    pads: bool = True


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    task: Task
    activation: Activation
    thresholds: tuple[Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)], ...] = ()
    temperatures: tuple[Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)], ...] = ()


class BundleManifest(BaseModel):
    """The schema of ``bundle.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal[1]
    name: str = Field(min_length=1, max_length=255, pattern=NAME)
    labels: tuple[str, ...] = Field(min_length=1, max_length=10_000)
    max_tokens: int = Field(ge=3, le=1_048_576)
    # Bundles older than the field were cut at the end of the text.
    truncation_side: TruncationSide = "right"
    temperature: float = Field(gt=0, le=100, allow_inf_nan=False)
    # Bundles older than the field have one label of several.
    head: _Head = _Head(task="single_label", activation="softmax")
    engine: _Engine
    metrics: dict[str, float]
    provenance: dict[str, str]
    files: dict[str, _File]


def head_problem(manifest: BundleManifest) -> str:
    """Why the head does not fit the labels; empty when it does."""
    head, labels = manifest.head, len(manifest.labels)
    if head.activation not in ACTIVATIONS[head.task]:
        allowed = " or ".join(ACTIVATIONS[head.task])
        return f"{head.task} has activation {allowed}, not {head.activation}"
    wanted = labels if head.task == "multi_label" else 0
    if len(head.thresholds) != wanted:
        given = len(head.thresholds)
        return f"{head.task} with {labels} labels has {wanted} thresholds, not {given}"
    most = 2 if head.activation == "sigmoid" else labels
    if head.task == "single_label" and not 2 <= labels <= most:
        return f"{labels} labels do not fit a single_label model with {head.activation}"
    return _temperature_problem(manifest, wanted)


def _temperature_problem(manifest: BundleManifest, wanted: int) -> str:
    given = len(manifest.head.temperatures)
    if given not in (0, wanted):
        return f"{manifest.head.task} has no or {wanted} temperatures of labels, not {given}"
    if given and manifest.temperature != 1:
        return "a temperature for each label leaves the bundle's own at 1"
    if manifest.head.activation == "none" and manifest.temperature != 1:
        return "values that are no probabilities have no temperature"
    return ""
