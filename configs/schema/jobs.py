"""Settings of batch jobs: where they are kept, how many, who goes first. Part of ``schema.py``."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from configs.schema.section import DatabaseUri, Section


class WebhookConfig(Section):
    """Who may be told that a job has ended. Nobody, unless hosts are listed."""

    hosts: tuple[str, ...] = Field(
        (),
        json_schema_extra={
            "limits": "a list of host names, addresses or networks (`10.0.0.0/8`), each with `:PORT` or without"
        },
        description="Hosts that a job's `webhook_url` may name, with `:PORT` on that port alone; any other is refused with 422 E7003. A name whose address is private is called only when that address or its network is listed too; plain http only for listed addresses.",
    )
    secret: SecretStr = Field(
        SecretStr(""),
        description="Signs every message (HMAC-SHA256); at least 16 characters where hosts are listed. Never shown or logged.",
    )
    max_attempts: int = Field(
        6,
        ge=1,
        le=20,
        description="Times that a message is sent, with growing pauses up to 10 minutes; afterwards it is given up and counted.",
    )
    timeout_ms: int = Field(
        5_000,
        ge=10,
        le=60_000,
        description="Longest time of one message, from looking its host up to the answer; then it failed.",
    )


class JobsConfig(Section):
    """Batch jobs: texts that are kept in a database until they are classified."""

    enabled: bool = Field(
        False,
        description="Run the Jobs deployment; when off, `/api/v1/batch/…` answers 503 E4006.",
    )
    database: DatabaseUri = Field(
        SecretStr("sqlite:///.sentigraph/jobs.db"),
        description="Where jobs, texts and results are kept. A relative sqlite path starts from the home folder and must survive the node; PostgreSQL needs the extra `postgres`. A secret, for it may hold a password: never shown or logged; another login of the same database in Vault is used at each new connection.",
    )
    max_jobs: int = Field(
        1_000,
        ge=1,
        le=100_000,
        description="Jobs waiting or under way; a further one is refused with 429 E4005.",
    )
    max_high: int = Field(
        100, ge=1, le=100_000, description="Of these with priority high; beyond it 429 E4005."
    )
    max_medium: int = Field(
        500, ge=1, le=100_000, description="Of these with priority medium; beyond it 429 E4005."
    )
    max_low: int = Field(
        1_000, ge=1, le=100_000, description="Of these with priority low; beyond it 429 E4005."
    )
    max_texts: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        description="Texts in one job; more are refused with 422 E1005.",
    )
    max_queued_texts: int = Field(
        2_000_000,
        ge=1,
        le=1_000_000_000,
        description="Texts of all jobs that have not ended; a job that would exceed it is refused with 429 E4005.",
    )
    max_job_bytes: int = Field(
        268_435_456,
        ge=1_024,
        le=1 << 40,
        description="Bytes that one job's texts and rows take in the database; more are refused with 422 E1005.",
    )
    max_stored_bytes: int = Field(
        4_294_967_296,
        ge=1_024,
        le=1 << 44,
        description="Bytes that texts, rows and results of all jobs take, ended ones until they are deleted; a job that would exceed it is refused with 429 E4005.",
    )
    max_caller_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Part of `max_jobs`, of each priority's, of `max_queued_texts` and of `max_stored_bytes` that one caller may take, where callers are known; beyond it 429 E4005. A first job is always taken.",
    )
    max_upload_bytes: int = Field(
        67_108_864,
        ge=1_024,
        le=1 << 40,
        description="Bytes of an uploaded file; a larger one is refused with 413, a packed one that unpacks to more than four times of it with 422.",
    )
    chunk_texts: int = Field(
        128,
        ge=1,
        le=1_000,
        description="Texts that are classified and stored together: what a crash may cause to be classified again. A job may ask for fewer with `max_batch_size`.",
    )
    chunks_in_flight: int = Field(
        2,
        ge=1,
        le=64,
        description="Chunks under way at once; one less would leave engines idle between chunks.",
    )
    lease_s: float = Field(
        15,
        ge=0.5,
        le=600,
        description="Time after which a chunk of a process that died is given to another; a living one renews three times within it.",
    )
    max_attempts: int = Field(
        5,
        ge=1,
        le=100,
        description="Times that a chunk, or a text that the model could not answer, is tried; then its texts get the error.",
    )
    default_timeout_s: int = Field(
        3_600,
        ge=10,
        le=604_800,
        description="Time for a job that names no `timeout_seconds`; afterwards it is `expired` and keeps what it has.",
    )
    max_timeout_s: int = Field(
        86_400,
        ge=10,
        le=604_800,
        description="Longest `timeout_seconds`; a longer one is refused with 422.",
    )
    ageing_s: float = Field(
        60,
        ge=0.1,
        le=86_400,
        description="A job that waited this long for a turn counts as one priority higher.",
    )
    result_ttl_s: int = Field(
        3_600,
        ge=1,
        le=31_536_000,
        description="Time that a job that has ended is kept with texts and results; then it is deleted.",
    )
    max_ended: int = Field(
        1_000,
        ge=1,
        le=1_000_000,
        description="Jobs that have ended and are kept; beyond it the oldest is deleted first.",
    )
    cleanup_interval_s: float = Field(
        60,
        ge=0.1,
        le=3_600,
        description="Pause between two looks for what is to be deleted.",
    )
    webhook: WebhookConfig = WebhookConfig()

    @model_validator(mode="after")
    def _timeouts_agree(self) -> Self:
        if self.default_timeout_s > self.max_timeout_s:
            raise ValueError(
                f"jobs.default_timeout_s={self.default_timeout_s} is above "
                f"jobs.max_timeout_s={self.max_timeout_s}"
            )
        if self.max_job_bytes > self.max_stored_bytes:
            raise ValueError(
                f"jobs.max_job_bytes={self.max_job_bytes} is above "
                f"jobs.max_stored_bytes={self.max_stored_bytes}"
            )
        if self.webhook.hosts and len(self.webhook.secret.get_secret_value()) < 16:
            raise ValueError(
                "jobs.webhook.hosts is set and jobs.webhook.secret has fewer than 16 characters: "
                "receivers could not tell our messages from others'"
            )
        return self
