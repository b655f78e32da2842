"""Settings of texts that come over Kafka. Part of ``schema.py``."""

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from configs.schema.section import Section

Topic = Annotated[
    str,
    Field(
        min_length=1,
        max_length=249,
        pattern=r"^[\w.\-]+$",
        json_schema_extra={"limits": "1 to 249 letters, digits, `_`, `.` or `-`"},
    ),
]
Server = Annotated[str, Field(pattern=r"^.+:\d{1,5}$")]


class StreamConfig(Section):
    """Texts from one Kafka topic, results into another (`docs/guides/streams.md`)."""

    enabled: bool = Field(
        False, description="Run the Stream deployment, which reads requests and writes results."
    )
    bootstrap_servers: tuple[Server, ...] = Field(
        ("localhost:9092",),
        min_length=1,
        json_schema_extra={"limits": "a list of HOST:PORT"},
        description="Brokers to ask first. While none answers, HTTP goes on and the health says so.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How brokers are talked to."
    )
    ca_file: str = Field(
        "", description="PEM file of the authorities to trust; empty means the system's."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="How to log in where the protocol is a SASL one."
    )
    username: str = Field("", description="User where the protocol is a SASL one.")
    password: SecretStr = Field(
        SecretStr(""),
        description="Its password. Never shown or logged; one that Vault changes is used at each new connection.",
    )
    group: Topic = Field("kubesentiment_consumer", description="Consumer group of all replicas.")
    requests_topic: Topic = Field("sentiment_requests", description="Where texts come from.")
    responses_topic: Topic = Field(
        "sentiment_responses", description="Where results go, with the message's id as key."
    )
    dlq_topic: Topic = Field(
        "sentiment_requests_dlq",
        description="Where messages go that cannot be answered, with the reason.",
    )
    feedback_topic: Topic = Field(
        "sentiment_feedback",
        description="Where feedback goes that is kept (`feedback.enabled`), with the answer's id as key; at least once, each event with its `event_id`.",
    )
    start_at: Literal["earliest", "latest"] = Field(
        "earliest",
        description="Where a group without a committed offset starts; `latest` skips what is there.",
    )
    assignment: Literal["cooperative-sticky", "sticky", "roundrobin", "range"] = Field(
        "cooperative-sticky",
        description="How partitions are shared among replicas. The default moves only those that must move; the others take all away at each change.",
    )
    max_poll_records: int = Field(
        64,
        ge=1,
        le=10_000,
        description="Messages of one poll, which are one micro-batch.",
    )
    fetch_wait_ms: int = Field(
        100,
        ge=1,
        le=5_000,
        description="Longest time that a broker holds a fetch back until there are messages. Kafka answers as soon as there are some.",
    )
    max_in_flight: int = Field(
        1_024,
        ge=1,
        le=100_000,
        description="Messages of one replica that are read and not yet acknowledged; at this bound its partitions are paused.",
    )
    session_timeout_ms: int = Field(
        30_000,
        ge=1_000,
        le=1_800_000,
        description="Time without a heartbeat after which a replica's partitions go to others. Brokers usually refuse less than 6000.",
    )
    heartbeat_interval_ms: int = Field(
        3_000, ge=100, le=600_000, description="Pause between two heartbeats."
    )
    max_poll_interval_ms: int = Field(
        300_000,
        ge=1_000,
        le=86_400_000,
        description="Time between two polls after which a replica's partitions go to others.",
    )
    processing_timeout_ms: int = Field(
        30_000,
        ge=100,
        le=600_000,
        description="Deadline of a micro-batch in the graph; what misses it is tried again.",
    )
    max_attempts: int = Field(
        3,
        ge=1,
        le=100,
        description="Attempts at a text that fails while others succeed; afterwards its message goes to the dead letters.",
    )
    backoff_ms: int = Field(
        100,
        ge=1,
        le=60_000,
        description="Pause before the second attempt; it doubles with each further one.",
    )
    backoff_max_ms: int = Field(
        10_000, ge=1, le=600_000, description="Longest pause between two attempts."
    )
    commit_interval_ms: int = Field(
        200,
        ge=1,
        le=60_000,
        description="Pause between two commits of what is acknowledged; a crash repeats at most what came after the last.",
    )
    drain_ms: int = Field(
        10_000,
        ge=0,
        le=600_000,
        description="Time that a stopping replica finishes what it has read; the rest is read again by others.",
    )
    linger_ms: int = Field(
        5, ge=0, le=10_000, description="Time that results wait for others to go with."
    )
    compression: Literal["none", "gzip", "lz4", "snappy", "zstd"] = Field(
        "lz4", description="Of results and dead letters. Requests may come in any of these."
    )
    delivery_timeout_ms: int = Field(
        10_000,
        ge=100,
        le=600_000,
        description="Longest wait for the acknowledgement of a result; afterwards it is sent again.",
    )

    @model_validator(mode="after")
    def _times_agree(self) -> Self:
        if self.heartbeat_interval_ms * 2 > self.session_timeout_ms:
            raise ValueError(
                f"stream.heartbeat_interval_ms={self.heartbeat_interval_ms} is above half of "
                f"stream.session_timeout_ms={self.session_timeout_ms}: one late heartbeat would "
                "lose the partitions"
            )
        if self.backoff_ms > self.backoff_max_ms:
            raise ValueError(
                f"stream.backoff_ms={self.backoff_ms} is above "
                f"stream.backoff_max_ms={self.backoff_max_ms}"
            )
        topics = {
            self.requests_topic,
            self.responses_topic,
            self.dlq_topic,
            self.feedback_topic,
        }
        if len(topics) < 4:
            raise ValueError(
                "stream.requests_topic, stream.responses_topic, stream.dlq_topic and "
                "stream.feedback_topic must be four different topics: results would be read as "
                "requests"
            )
        return self
