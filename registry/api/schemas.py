"""Bodies of the registry's REST interface, as pydantic models."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from registry.backend.tags import FORMAT_TAG, ROLLED_BACK_TAG, SIZE_TAG
from registry.catalog.evaluations import Evaluation
from registry.catalog.metadata import (
    Finite,
    Metadata,
    Word,
    broken_fields,
    label_of,
    metadata_of,
)
from registry.plain_json import PlainJson
from registry.policy import Policy
from registry.records import Check, ModelInfo, ModelVersion

Stage = Literal["draft", "staging", "production", "archived"]
Label = Annotated[
    str, Field(min_length=1, max_length=100, pattern=r"^\s*[\w.\-+]+\s*$", examples=["1.0.0"])
]
Reason = Annotated[str, Field(max_length=500, description="Why; kept in the audit ledger.")]


class Request(BaseModel):
    """A body that callers send: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Answer(BaseModel):
    """A body that is sent to callers; can be made of the record whose fields it has."""

    model_config = ConfigDict(frozen=True, protected_namespaces=(), from_attributes=True)

    @classmethod
    def of(cls, record: object) -> Self:
        """The body of a record that has its fields."""
        return cls.model_validate(record)


class ModelCreate(Request):
    """A new model."""

    name: str = Field(min_length=1, max_length=255, pattern=r"^[\w.\-]+$")
    description: str = Field(default="", max_length=3_000)


class ModelUpdate(Request):
    """What changes; the rest stays."""

    name: str | None = Field(default=None, min_length=1, max_length=255, pattern=r"^[\w.\-]+$")
    description: str | None = Field(default=None, max_length=3_000)
    policy: Policy | None = None


class VersionCreate(Request):
    """A new draft without files. Paths of files are the server's business."""

    version: Label
    status: Literal["draft"] = "draft"
    metadata: Metadata


class StatusUpdate(Request):
    """The next stage; the lifecycle's rules hold here as everywhere."""

    status: Stage
    reason: Reason = ""


class MetadataUpdate(Request):
    """Replaces all metadata."""

    metadata: Metadata


class Promotion(Request):
    """Where a version shall go."""

    to_status: Stage
    reason: Reason = ""
    retire: bool = Field(
        default=False, description="Archive the champion although no version replaces it."
    )


class EvaluationCreate(Request):
    """Figures of one evaluation; NaN and infinity are refused."""

    evaluation_name: Annotated[Word, Field(min_length=1)]
    dataset_name: Annotated[Word, Field(min_length=1)]
    dataset_digest: str = Field(
        default="", max_length=64, description="Digest of the texts; gates compare equal ones."
    )
    metrics: dict[str, Finite] = Field(min_length=1, max_length=100)
    metadata: PlainJson = Field(default_factory=dict, max_length=100)


class Rollback(Request):
    """Back to the champion before, or to an earlier one."""

    reason: Annotated[Reason, Field(min_length=1)]
    to_version: str | None = None


class SlotUpdate(Request):
    """Who holds a slot, with which share of traffic."""

    version: str
    weight: float = Field(default=1.0, ge=0.0001, le=1)
    reason: Reason = ""


class Decision(Request):
    """Approval or rejection of a version's present files."""

    approve: bool
    reason: Reason = ""


class EvaluationBody(Answer):
    """An evaluation."""

    id: str
    model_version_id: str
    evaluation_name: str
    dataset_name: str
    dataset_digest: str
    metrics: dict[str, float]
    metadata: dict[str, Any]
    broken: list[str] = Field(description="Stored fields that cannot be shown, with the reasons.")
    created_at: datetime


class VersionBody(Answer):
    """A version."""

    id: str
    model_id: str
    version: str = Field(description="Its author's label; the number where there is none.")
    number: int = Field(description="MLflow's number.")
    status: Stage
    aliases: list[str]
    digest: str | None
    labels: list[str]
    task: str = Field(description="`single_label`, `multi_label` or `regression`.")
    artifact_path: str | None = Field(description="Path of this API that returns the files.")
    artifact_format: str | None
    artifact_bytes: int | None
    rolled_back: str | None = Field(description="Why it was taken back, if it was.")
    metadata: Metadata
    broken: list[str] = Field(description="Stored fields that cannot be shown, with the reasons.")
    created_at: datetime
    updated_at: datetime
    evaluations: list[EvaluationBody]


class ModelBody(Answer):
    """A model with its versions, newest first."""

    id: str
    name: str
    description: str
    created_at: datetime
    updated_at: datetime
    aliases: dict[str, int]
    policy: Policy
    versions: list[VersionBody]


class GateBody(Answer):
    """A gate's verdict."""

    passed: bool
    checks: list[Check]


class EventBody(Answer):
    """One audit entry."""

    seq: int
    at: datetime = Field(validation_alias="at_s")
    action: str
    version: int | None
    actor: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]
    gate: dict[str, Any]
    digest: str
    previous: str


class DecisionBody(EventBody):
    """The audit entry of an approval or rejection."""

    note: str | None = Field(default=None, description="Why the approval may not count.")


class AuditPage(Answer):
    """Audit entries, newest first."""

    model_id: str
    verified: bool = Field(description="The chain of digests holds from the first entry on.")
    total: int
    entries: list[EventBody]


class ChampionAt(Answer):
    """Who was champion at a time."""

    model_id: str
    at: datetime
    version: int | None
    digest: str | None
    since: datetime | None
    actor: str | None


class SearchPage(Answer):
    """Versions that match."""

    items: list[VersionBody]
    total: int
    next_cursor: str | None


def utc(seconds: float) -> datetime:
    """Unix seconds as an aware time."""
    return datetime.fromtimestamp(seconds, UTC)


def evaluation_body(version: ModelVersion, found: Evaluation) -> EvaluationBody:
    """An evaluation as its body."""
    return EvaluationBody(
        id=found.id,
        model_version_id=f"{version.name}/{version.version}",
        evaluation_name=found.name,
        dataset_name=found.dataset,
        dataset_digest=found.dataset_digest,
        metrics=dict(found.metrics),
        metadata=dict(found.metadata),
        broken=list(found.broken),
        created_at=utc(found.created_s),
    )


def version_body(version: ModelVersion, evaluations: list[Evaluation], prefix: str) -> VersionBody:
    """A version as its body; ``prefix`` is the path of the models' routes."""
    size = version.tags.get(SIZE_TAG, "")
    path = f"{prefix}/{version.name}/versions/{version.version}/artifact"
    return VersionBody(
        id=f"{version.name}/{version.version}",
        model_id=version.name,
        version=label_of(version),
        number=version.version,
        status="production" if "champion" in version.aliases else _stage(version.stage),
        aliases=list(version.aliases),
        digest=version.digest or None,
        labels=list(version.labels),
        task=version.task,
        artifact_path=path if version.digest else None,
        artifact_format=version.tags.get(FORMAT_TAG, "bundle") if version.digest else None,
        artifact_bytes=int(size) if size.isdecimal() and version.digest else None,
        rolled_back=version.tags.get(ROLLED_BACK_TAG),
        metadata=metadata_of(version),
        broken=broken_fields(version),
        created_at=utc(version.created_s),
        updated_at=utc(version.updated_s),
        evaluations=[evaluation_body(version, found) for found in evaluations],
    )


def model_body(found: ModelInfo, versions: list[VersionBody]) -> ModelBody:
    """A model as its body."""
    return ModelBody(
        id=found.name,
        name=found.name,
        description=found.description,
        created_at=utc(found.created_s),
        updated_at=utc(found.updated_s),
        aliases=dict(found.aliases),
        policy=found.policy,
        versions=sorted(versions, key=lambda body: -body.number),
    )


def _stage(stage: str) -> Stage:
    # A person may have typed anything into the tag; the ledger's stage is set back soon.
    return stage if stage in ("draft", "staging", "archived") else "draft"  # type: ignore[return-value]
