"""Bodies of the review routes. Times are Unix time in seconds."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

StatusName = Literal["single", "agreed", "conflict", "overruled"]


class LabelTask(BaseModel):
    """An answer to judge."""

    prediction_id: str
    model_name: str
    model_version: int
    text: str
    labels: list[str] = Field(description="What it may be called.")
    answered: float
    drawn: Literal["random", "margin"] = Field(
        description="`random` measures the accuracy; `margin`: the model hesitated."
    )
    source: str = Field(description="`http`, `kafka` or `job`.")
    lease_until: float = Field(description="Until then nobody else is given it.")
    label: str | None = Field(description="The model's, only where it was asked for.")
    scores: dict[str, float] | None


class LabelQueue(BaseModel):
    """What waits for review."""

    task: LabelTask | None = Field(description="None when nothing waits.")
    model_name: str = Field(description="The model whose answers these are.")
    waiting: dict[str, int] = Field(
        description="By kind: `random`, `margin`; `conflict`: reviewers disagree; `leased`."
    )
    other_models: dict[str, int] = Field(
        description="Answers of other models that wait; `model=` asks for those."
    )


class ReviewRequest(BaseModel):
    """A reviewer's word on an answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    prediction_id: str = Field(min_length=36, max_length=36)
    label: str = Field(min_length=1, max_length=255)
    comment: str = Field("", max_length=1_000)


class LabelReceipt(BaseModel):
    """What holds of the answer now."""

    prediction_id: str
    label: str
    status: StatusName
    predicted: str = Field(description="What the model had said.")
    correct: bool
    again: bool = Field(description="This reviewer had said the same; nothing changed.")


class LabelImport(BaseModel):
    """Labels made elsewhere: rows of an export, or tasks of Label Studio with annotations."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    labels: list[ReviewRequest] = Field(default_factory=list, max_length=10_000)
    label_studio: list[dict[str, object]] = Field(default_factory=list, max_length=10_000)


class ImportReceipt(BaseModel):
    """What became of each row."""

    taken: int
    known: int = Field(description="Had been imported before.")
    refused: dict[str, int] = Field(description="By reason.")


class AccuracyRange(BaseModel):
    """An estimate; `low` to `high` holds however often it is read."""

    value: float | None
    low: float
    high: float
    n: int = Field(description="Judged answers.")


class AccuracyDay(BaseModel):
    """Answers of one day."""

    day: str
    right: int
    n: int


class ActorBody(BaseModel):
    """Somebody who gives labels; named by a digest."""

    actor: str
    source: Literal["caller", "reviewer", "import"]
    n: int
    differing: int = Field(description="Times that something else holds.")
    suspicious: bool = Field(description="It differs far more often than the others do.")


class LiveAccuracy(BaseModel):
    """How often the version is right, from answers that were drawn at random and judged."""

    model_name: str
    model_version: int
    model_digest: str
    accuracy: AccuracyRange
    alpha: float
    drawn: int = Field(description="Answers that were drawn to measure it.")
    judged_share: float | None
    complete: bool = Field(description="At least 70 % of the drawn ones are judged.")
    days: list[AccuracyDay] = Field(description="By day of the answer, the last 90.")
    volunteered: int = Field(description="Answers that callers judged; no measure of accuracy.")
    volunteered_wrong: int
    lost_evidence: float = Field(
        description="That it is over two points below `feedback.reference_accuracy`; 1 alarms."
    )
    actors: list[ActorBody]
