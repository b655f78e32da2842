"""Settings of the figures for people who do not read time series."""

from pydantic import Field

from configs.schema.section import Section


class KpisConfig(Section):
    """What was answered, how surely, how fast, at what cost, and within which objectives."""

    enabled: bool = Field(
        False,
        description="Sum the figures of all replicas by minute and run the Insight deployment; when off, `/api/v1/monitoring/kpis/…` answers 503 E8001.",
    )
    detailed: bool = Field(
        True,
        description="Answers have the break-downs by label, confidence, source and backend; when off these are empty.",
    )
    history_hours: float = Field(
        24,
        ge=1,
        le=168,
        description="Minutes are kept so long and are the window of the answers; older ones are summed by hour and kept 35 days.",
    )
    cost_per_1k: float = Field(
        0.01,
        ge=0,
        le=1_000_000,
        description="Price of 1,000 predictions in USD, where `cpu_hour` is 0.",
    )
    cpu_hour: float = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Price of one CPU for an hour in USD; the cost is then that of all replicas at their size of the start, idle or not.",
    )
