"""Bodies of the HTTP interface, as pydantic models. One error body for every failure."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from registry.records import Activation, Task

PREFIX = "/api/v1"


Text = Annotated[str, Field(examples=["The delivery was late, but support was wonderful."])]


class _Request(BaseModel):
    # Strict: a number is not a text. Unknown fields are refused, not ignored.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PredictRequest(_Request):
    """One text to classify."""

    text: Text = Field(description="1 to `limits.max_text_chars` (10,000) characters, not blank.")


class BatchPredictRequest(_Request):
    """Several texts to classify."""

    texts: list[Text] = Field(
        description="1 to `limits.max_batch_texts` (1,000) texts; each may fail on its own."
    )


class FeedbackRequest(BaseModel):
    """What would have been the right label of a prediction."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    prediction_id: UUID = Field(description="Of the answer that is judged.")
    corrected_label: str = Field(
        min_length=1, max_length=255, description="A label of the version that answered."
    )
    text: str | None = Field(default=None, max_length=10_000, description="Not kept.")
    score: float | None = Field(default=None, ge=0, le=1, description="Not kept.")
    user_id: str | None = Field(default=None, max_length=255, description="Not kept.")
    comments: str | None = Field(
        default=None, max_length=10_000, description="Kept where `feedback.enabled`."
    )


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class TextPrediction(_Answer):
    """What the model says about one text."""

    prediction_id: str = Field(description="UUID of this answer.")
    label: str = Field(description="The label of the highest score.")
    score: float = Field(
        description="Its calibrated probability; its value where the model gives values."
    )
    scores: dict[str, float] = Field(
        description="Score of every label. Those of a single-label model sum to 1."
    )
    labels: list[str] | None = Field(
        default=None,
        description="Of a multi-label model, and of no other: the labels whose score reaches their "
        "threshold; may be empty.",
    )
    n_tokens: int = Field(ge=0, description="Tokens that the model saw, special tokens included.")
    truncated: bool = Field(description="The text was longer than the model takes and was cut.")
    cached: bool = Field(description="Answered from a cache.")
    text_length: int = Field(ge=1, description="Characters of the text, stripped.")


class ModelIdentity(_Answer):
    """Which version answered."""

    model_name: str
    model_version: int = Field(ge=1)
    model_digest: str = Field(pattern="^[0-9a-f]{64}$", description="sha256 of the bundle.")
    backend: str = Field(description="Engine: `onnx` or `pytorch`.")
    inference_time_ms: float = Field(ge=0, description="Server time of the whole request.")


class Prediction(ModelIdentity, TextPrediction):
    """Answer to `POST /predict`."""


class ErrorItem(_Answer):
    """Why one text of a batch was not classified."""

    error_code: str = Field(description="E-number of the error table.")
    error_message: str


class BatchItem(_Answer):
    """One text of a batch: either `prediction` or `error`."""

    index: int = Field(ge=0, description="Position in the request's `texts`.")
    prediction: TextPrediction | None
    error: ErrorItem | None


class BatchPrediction(ModelIdentity):
    """Answer to `POST /predict/batch`; `results` has the order of `texts`."""

    results: list[BatchItem]
    total: int = Field(ge=1)
    failed: int = Field(ge=0)


class FeedbackReceipt(_Answer):
    """Answer to `POST /feedback`."""

    status: str = Field(description="`recorded`, or `known` when it had been judged before.")
    message: str
    prediction_id: UUID
    model_version: int = Field(description="The version that had answered.")
    correct: bool = Field(description="It had given that label.")
    not_counted: str | None = Field(description="Why it counts for no release; null when it does.")


class LiveVersion(_Answer):
    """What serves now."""

    name: str
    version: int
    digest: str
    labels: list[str]
    task: Task = Field(
        description="`single_label`: one of the labels is right; `multi_label`: each is right or "
        "not by itself; `regression`: the scores are values."
    )
    activation: Activation = Field(description="From the model's outputs to scores.")
    thresholds: list[float] = Field(
        description="Of a multi-label model: for each label the score from which it applies."
    )
    backend: str
    precision: str
    max_tokens: int
    source: str = Field(
        description="`registry`, or `last_known` when MLflow did not answer at start-up."
    )


class LiveModels(_Answer):
    """Answer to `GET /models/live`."""

    champion: LiveVersion
    challenger: LiveVersion | None
    challenger_weight: float = Field(ge=0, le=1, description="Share of requests that it answers.")
    shadow: LiveVersion | None
    shadow_weight: float = Field(ge=0, le=1, description="Share of requests that it is asked.")
    epoch: int = Field(description="Of the routing table; grows with every change.")
    topology: str


class Health(_Answer):
    """Answer of the health routes."""

    status: str = Field(description="`alive`, `ready` or `not_ready`.")
    checks: dict[str, str] = Field(default_factory=dict, description="Result by component.")


class PartHealth(_Answer):
    """One part that watches."""

    enabled: bool
    healthy: bool = Field(description="It works, and has fresh data where it gets any.")


class MonitoringHealth(_Answer):
    """Answer to `GET /monitoring/health`."""

    drift_detection: PartHealth
    model_registry: PartHealth
    explainability: PartHealth
    advanced_metrics: PartHealth


class ServiceInfo(_Answer):
    """Answer to `GET /`."""

    service: str
    version: str
    status: str
    docs_url: str | None
    console_url: str | None
    health_url: str


class ErrorBody(_Answer):
    """Body of every answer with a status of 400 or more."""

    error_code: str = Field(description="E-number of the error table.")
    error_message: str
    status_code: int = Field(ge=400, le=599)
    correlation_id: str = Field(description="The request's `X-Correlation-ID`.")
    timestamp: datetime = Field(default_factory=lambda: datetime.now(UTC))
    context: dict[str, object] = Field(default_factory=dict)
