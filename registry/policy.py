"""What a model's owner demands of a version before it may serve.

Kept as JSON in the registered model's tag ``policy``, so it can be read and changed in
the MLflow UI as well. ``gates.py`` judges by it.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from registry.errors import InvalidValue

POLICY_TAG = "policy"


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


def parse_policy(text: str) -> Policy:
    """The policy in a tag; the default one when the tag is empty.

    Raises:
        InvalidValue: It is no policy. Nothing is promoted until somebody corrects it.
    """
    if not text:
        return Policy()
    try:
        return Policy.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "JSON"
        raise InvalidValue(f"the model's policy cannot be read: {where}: {first['msg']}") from error
