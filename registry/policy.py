"""What a model's owner demands of a version before it may serve.

Kept as JSON in the registered model's tag ``policy``, so it can be read and changed in
the MLflow UI as well. ``lifecycle/gate.py`` applies it.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from registry.errors import InvalidValue


class MetricRule(BaseModel):
    """One metric's demands. Missing evidence refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    metric: str = Field(min_length=1, max_length=100)
    higher_is_better: bool = True
    dataset: str | None = Field(
        default=None, max_length=255, description="Only figures on this dataset count."
    )
    threshold: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="At least this (at most, where lower is better).",
    )
    min_gain: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Better than the champion by at least this, on the same dataset digest.",
    )
    max_regression: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Worse than the champion by at most this, on the same dataset digest.",
    )

    @model_validator(mode="after")
    def _demands_something(self) -> Self:
        if self.threshold is None and self.min_gain is None and self.max_regression is None:
            raise ValueError("a rule needs a threshold, min_gain or max_regression")
        return self


class ReleasePolicy(BaseModel):
    """The steps of an automatic release, and when it advances, waits or is rolled back.

    The shares are of texts that the candidate and the champion both answered (shadow), or of
    pairs of texts that one of them answered (canary); ``releases/decision.py`` explains the rates.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    shadow_weight: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of traffic that is sent to the candidate first, unanswered; 0: none.",
    )
    canary_weights: tuple[float, ...] = Field(
        default=(0.01, 0.05, 0.2, 0.5),
        min_length=1,
        max_length=10,
        description="Shares of traffic that it then answers, growing.",
    )
    min_texts: int = Field(
        default=200, ge=1, le=10_000_000, description="Texts compared before a step may end."
    )
    min_feedback: int = Field(
        default=0, ge=0, le=10_000_000, description="Judged answers before a step may end."
    )
    min_step_s: float = Field(
        default=60.0, ge=0, le=2_592_000, description="Shortest step, seconds."
    )
    max_step_s: float = Field(
        default=86_400.0,
        gt=0,
        le=2_592_000,
        description="A step that is undecided after it is held for a person.",
    )
    false_alarm_rate: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Most chance that a candidate within all limits is ever rolled back.",
    )
    miss_rate: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Most chance that a candidate beyond a limit passes a step.",
    )
    max_error_increase: float = Field(
        default=0.02,
        gt=0,
        lt=1,
        description="Share of texts on which it fails more often than the champion.",
    )
    max_slower: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="Share of texts that take over `rollout.slow_ratio` times the champion's.",
    )
    min_agreement: float = Field(
        default=0.85,
        gt=0,
        lt=1,
        description="Share of texts that get the champion's label (shadow only).",
    )
    max_drifted: float = Field(
        default=0.25,
        gt=0,
        lt=1,
        description="Share of texts whose scores move by over `rollout.drift_step` (shadow only).",
    )
    max_accuracy_drop: float = Field(
        default=0.005,
        gt=0,
        lt=1,
        description="Accuracy lost against the champion, by judged answers.",
    )
    accuracy_proof: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="A step ends only once judged answers prove that the candidate loses less "
        "accuracy than this; 0 asks for no proof. Null: 0.03 where answers are drawn for review, "
        "else no proof.",
    )

    @model_validator(mode="after")
    def _grows(self) -> Self:
        weights = self.canary_weights
        if not all(0 < weight <= 1 for weight in weights) or list(weights) != sorted(set(weights)):
            raise ValueError(f"canary_weights {weights} do not grow within 0 to 1")
        return self


class Policy(BaseModel):
    """All demands of one model."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    rules: tuple[MetricRule, ...] = Field(default=(), max_length=10)
    same_labels: bool = Field(
        default=True, description="The label set must be the champion's; callers rely on it."
    )
    approvals: int = Field(
        default=0, ge=0, le=1, description="1: a second actor must approve a promotion first."
    )
    dataset: str | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        description="Dataset whose figures are shown and compared; by default that of a rule.",
    )
    release: ReleasePolicy = ReleasePolicy()

    @property
    def shown_dataset(self) -> str:
        """Dataset whose figures count first: the policy's own, or that of its first rule."""
        named = (self.dataset, *(rule.dataset for rule in self.rules))
        return next((name for name in named if name), "")

    def merged(self, update: "Policy") -> "Policy":
        """This policy with the fields that ``update`` sets; a list replaces the whole list."""
        fields = {name: getattr(update, name) for name in update.model_fields_set}
        if "release" in fields:
            release = update.release
            changed = {name: getattr(release, name) for name in release.model_fields_set}
            fields["release"] = self.release.model_copy(update=changed)
        return self.model_copy(update=fields)

    def changed_fields(self, after: "Policy") -> list[str]:
        """Names of the fields in which ``after`` differs, those of the release after a dot."""
        mine, others = self.model_dump(), after.model_dump()
        before, now = mine.pop("release"), others.pop("release")
        return [
            *(f"policy.{key}" for key in mine if mine[key] != others[key]),
            *(f"policy.release.{key}" for key in before if before[key] != now[key]),
        ]


def parse_policy(text: str) -> Policy:
    """The policy in a tag; the default one when the tag is empty.

    Raises:
        InvalidValue: It is no policy. Nothing is promoted until it is corrected.
    """
    if not text:
        return Policy()
    try:
        return Policy.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "JSON"
        raise InvalidValue(f"the model's policy cannot be read: {where}: {first['msg']}") from error
