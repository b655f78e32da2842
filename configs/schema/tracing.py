"""Settings of traces. Part of ``schema.py``."""

from typing import Literal

from pydantic import Field, SecretStr

from configs.schema.section import Section


class TracingConfig(Section):
    """Spans of sampled requests, sent as OTLP (`docs/guides/monitoring.md`)."""

    enabled: bool = Field(
        False,
        description="Trace a share of the requests and messages. When off, nothing of OpenTelemetry is imported.",
    )
    endpoint: str = Field(
        "http://localhost:4317",
        pattern=r"^https?://[^/\s]+(/\S*)?$",
        json_schema_extra={"limits": "an address such as `http://collector:4317`"},
        description="Where a collector takes OTLP. `https` verifies its certificate. Over HTTP an address without a path gets `/v1/traces`.",
    )
    protocol: Literal["grpc", "http"] = Field("grpc", description="OTLP over gRPC or over HTTP.")
    headers: SecretStr = Field(
        SecretStr(""),
        description="Sent with every export, for a collector that asks who is there: `name=value,name=value`.",
    )
    ca_file: str = Field(
        "",
        description="PEM file of the authority that signed the collector's certificate; empty means the system's.",
    )
    sample_ratio: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of what comes without a W3C `traceparent` that is traced. With one, its sampled flag decides alone.",
    )
    excluded_paths: tuple[str, ...] = Field(
        ("/health", "/metrics", "/docs", "/openapi.json"),
        json_schema_extra={"limits": "a list of paths"},
        description="Paths that are never traced, with all below them, below `/api/v1` or not.",
    )
    max_queued_spans: int = Field(
        4_096,
        ge=1,
        le=1_000_000,
        description="Spans of one replica on their way to the collector; beyond it spans are dropped and counted, requests never wait.",
    )
    export_interval_ms: int = Field(
        1_000, ge=10, le=60_000, description="Longest time that a span waits for others to go with."
    )
    export_timeout_ms: int = Field(
        5_000,
        ge=10,
        le=60_000,
        description="Time for one export with all its repetitions; afterwards its spans are dropped and counted.",
    )
