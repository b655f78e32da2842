"""Bodies of the routes of batch jobs, as pydantic models; times are ISO 8601 in UTC."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from deployments.asgi.schemas import Text, TextPrediction
from deployments.jobs.records import Priority, State

# Said in the document; what is not one is refused with E7003 (``webhook.py``).
WEB_ADDRESS: dict[str, JsonValue] = {"pattern": r"^(https?://.+)?$"}


class JobRequest(BaseModel):
    """Texts to classify in the background."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    texts: list[Text] = Field(
        min_length=1,
        description="1 to `jobs.max_texts` texts, as far as the body may be large; each may fail "
        "on its own.",
    )
    priority: Priority = Field("medium", description="Shares of the engines: 16, 4 and 1.")
    max_batch_size: int | None = Field(
        None, ge=1, le=1_000, description="Texts that are stored together; at most our own number."
    )
    timeout_seconds: int | None = Field(
        None, ge=10, le=604_800, description="Not ended by then, the job expires."
    )
    webhook_url: str = Field(
        "",
        max_length=2_000,
        json_schema_extra=WEB_ADDRESS,
        description="Receives a message when the job has ended; of a host in `jobs.webhook.hosts`.",
    )


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class JobAccepted(_Answer):
    """Answer to a submission. Asked again with the same `Idempotency-Key`, it is the same job."""

    job_id: str
    status: State
    total_texts: int
    estimated_completion_seconds: float | None = Field(
        description="From now, at the pace measured and beside the other jobs; null before any "
        "pace is known."
    )
    created_at: datetime
    priority: Priority
    progress_percentage: float = Field(ge=0, le=100)


class JobStatus(JobAccepted):
    """A job as it stands."""

    processed_texts: int = Field(description="Texts with a result, failed ones included.")
    failed_texts: int
    retried_texts: int = Field(
        description="No more texts than these were classified twice, because a process died."
    )
    started_at: datetime | None
    completed_at: datetime | None
    error: str | None


class ItemError(_Answer):
    """Why one text has no prediction."""

    error_code: str
    error_message: str


class JobItem(_Answer):
    """The result of one text."""

    index: int = Field(description="Position in the submission, from 0.")
    prediction: TextPrediction | None
    error: ItemError | None
    model_version: int | None


class JobSummary(_Answer):
    """All results of the job so far."""

    total_texts: int
    successful_predictions: int
    failed_predictions: int
    success_rate: float = Field(ge=0, le=1, description="Of the texts that have a result.")


class JobResults(_Answer):
    """A page of results, in the order of the texts. They can be read while the job goes on."""

    job_id: str
    status: State
    results: list[JobItem]
    total_results: int = Field(description="Results there are by now, without a gap.")
    page: int
    page_size: int
    has_more: bool
    summary: JobSummary


class JobCancelled(_Answer):
    """Answer to a cancellation."""

    message: str
    job_id: str
    status: State


class JobFigures(_Answer):
    """All jobs that are kept."""

    total_jobs: int
    active_jobs: int
    completed_jobs: int
    failed_jobs: int
    average_processing_time_seconds: float | None
    average_throughput_tps: float | None = Field(description="Texts per second, last busy minute.")
    queue_size: int = Field(description="Jobs waiting or under way.")
    average_batch_size: float | None = Field(description="Texts of a completed job.")
    processing_efficiency: float | None = Field(
        ge=0, le=100, description="Completed among the ended, in percent."
    )


class Queue(_Answer):
    """Open jobs and their texts by priority."""

    high_priority: int
    medium_priority: int
    low_priority: int
    total: int
    high_priority_texts: int
    medium_priority_texts: int
    low_priority_texts: int


class QueueState(_Answer):
    """Answer to `GET /batch/queue/status`."""

    queues: Queue
    timestamp: datetime
    service_status: str
