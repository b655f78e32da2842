"""The registry's nouns: frozen records that cross module and process boundaries.

A bundle is identified by its digest (sha256 of its canonical ``bundle.json``); a
model version by (name, version, digest), never by the version number alone, because
MLflow starts again at 1 when a model is deleted and made anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    # Engines need these records on machines that have no pydantic.
    from registry.policy import Policy

TruncationSide = Literal["left", "right"]
Task = Literal["single_label", "multi_label", "regression"]
Activation = Literal["softmax", "sigmoid", "none"]


@dataclass(frozen=True, slots=True)
class Head:
    """What a model's outputs mean and how they become scores.

    Attributes:
        task: ``single_label``: exactly one of the labels is right, scores sum to 1;
            ``multi_label``: each label is right or not by itself; ``regression``: each output is a
            value with a name, which is no probability unless ``activation`` is ``sigmoid``.
        activation: From outputs to scores. A ``single_label`` model with ``sigmoid`` has one
            output and two labels: its score is the second label's, the rest the first one's.
        thresholds: Of a ``multi_label`` model: for each label the score from which it applies.
        temperatures: Of a calibrated ``multi_label`` model: for each label what its output is
            divided by before the activation; empty where the bundle's one temperature holds.
    """

    task: Task = "single_label"
    activation: Activation = "softmax"
    thresholds: tuple[float, ...] = ()
    temperatures: tuple[float, ...] = ()

    def outputs(self, labels: int) -> int:
        """Columns of the model's output for so many labels."""
        return 1 if self.task == "single_label" and self.activation == "sigmoid" else labels


@dataclass(frozen=True, slots=True)
class EngineHints:
    """How the model file wants to be run.

    Attributes:
        kind: ``onnx`` (``model.onnx``) or ``torch`` (``model.safetensors`` + ``config.json``).
        precision: Weight precision of the file, for display and for metrics labels.
        inputs: Input names in call order; a subset of ``input_ids``, ``attention_mask``,
            ``token_type_ids``.
        pad_id: Token id that fills a row up to the batch's length.
        batch_invariant: Whether a text's scores are the same in every batch. Untrue where the
            file scales its activations over the batch at run time.
        pads: Whether texts of different lengths may share a batch. Untrue where padding changes
            the model's answer: then each text runs by itself.
    """

    kind: Literal["onnx", "torch"]
    precision: Literal["fp32", "fp16", "bf16", "int8"]
    inputs: tuple[str, ...]
    pad_id: int
    batch_invariant: bool = True
    pads: bool = True


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: every file's sha256 has been checked.

    Attributes:
        directory: Where the files are.
        digest: sha256 (64 hex digits) of the canonical ``bundle.json``.
        name: Name given when it was written; a registry may use another.
        labels: Class names; position is the column of the scores.
        max_tokens: Longest input in tokens, special tokens included; longer is truncated.
        temperature: Logits are divided by it before the activation (Guo et al. 2017).
        engine: How to run the model file.
        metrics: Evaluation figures by name.
        provenance: Where it came from: data and recipe digests, base model, tool versions.
        files: Relative file name to (sha256, bytes).
        truncation_side: End at which a text of more than ``max_tokens`` loses tokens.
        head: What the outputs mean.
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
    truncation_side: TruncationSide = "right"
    head: Head = Head()


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One registered version and where its bundle is.

    Attributes:
        name: Registered model name.
        version: MLflow's number, from 1.
        digest: The bundle's digest.
        labels: Class names in logit order.
        stage: ``draft``, ``staging``, ``production`` or ``archived``.
        aliases: Aliases that point here, sorted.
        uri: Where the registry keeps the bundle's files.
        created_s: Unix time of registration, seconds.
        description: Markdown shown in the MLflow UI.
        tags: All its tags as MLflow keeps them.
        updated_s: Unix time of the last change that MLflow knows of, seconds.
        task: What its scores mean.
    """

    name: str
    version: int
    digest: str
    labels: tuple[str, ...]
    stage: str
    aliases: tuple[str, ...]
    uri: str
    created_s: float
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    updated_s: float = 0.0
    task: str = "single_label"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A registered model.

    Attributes:
        name: Its name, which is also its id in paths.
        description: What a person wrote.
        created_s: Unix time, seconds.
        updated_s: Unix time of the last change that MLflow knows of, seconds.
        aliases: Alias to version.
        policy: What its versions must satisfy before production.
    """

    name: str
    description: str
    created_s: float
    updated_s: float
    aliases: Mapping[str, int]
    policy: "Policy"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure of one version on one dataset.

    Attributes:
        metric: Its name.
        value: Finite.
        dataset: Name of the dataset; empty when unknown.
        dataset_digest: First 32 hex digits of the dataset's digest; empty when unknown.
        measured_s: Unix time, seconds.
    """

    metric: str
    value: float
    dataset: str
    dataset_digest: str
    measured_s: float


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of a gate: whether it holds, and why in one sentence."""

    name: str
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class GateReport:
    """A gate's verdict: passed when every check is."""

    passed: bool
    checks: tuple[Check, ...]

    @property
    def reasons(self) -> str:
        """Why it failed: the checks that do not hold, in one line; empty when it passed."""
        return "; ".join(f"{c.name}: {c.reason}" for c in self.checks if not c.passed)


@dataclass(frozen=True, slots=True)
class Release:
    """An automatic release that is under way; a model has one at most.

    Attributes:
        id: Audit entry that began it.
        version: The candidate.
        champion: The version that it shall replace.
        actor: Who ordered it; the promotion is made in this name.
        steps: Shares of traffic: the first as shadow (0: no such step), the rest as challenger.
        step: Position of the present one.
        held: Why it waits for a person; empty while it advances by itself.
        since_s: Unix time when the step began, or went on.
    """

    id: int
    version: int
    champion: int
    actor: str
    steps: tuple[float, ...]
    step: int
    held: str = ""
    since_s: float = 0.0

    @property
    def slot(self) -> str:
        """The slot that the candidate has in the present step."""
        return "shadow" if self.step == 0 else "challenger"

    @property
    def weight(self) -> float:
        """Its share of traffic there."""
        return self.steps[self.step]


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a model's audit ledger.

    Attributes:
        model: Registered model name at that time.
        seq: 1, 2, 3, … without a gap.
        at_s: Unix time, seconds.
        action: What was done: ``promote``, ``set_slot``, ``create_version``, …
        version: Version that it was done to; None when it concerns the model.
        actor: Who did it.
        reason: Why, in the actor's words.
        before: What was, as plain values.
        after: What is: ``aliases``, ``stages``, ``weights`` or other facts of the action.
        gate: The gate's report as plain values; empty when none was asked.
        digest: Digest of the version's bundle; empty when it has none.
        previous: sha256 of the entry before, as it is stored; empty for the first.
        nonce: Tells two equal entries of two writers apart.
    """

    model: str
    seq: int
    at_s: float
    action: str
    version: int | None
    actor: str
    reason: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    gate: Mapping[str, Any]
    digest: str
    previous: str
    nonce: str
