"""Bodies of the KPI routes. Times are Unix time in seconds."""

from pydantic import BaseModel, ConfigDict, Field


class _Kpis(BaseModel):
    window_s: float
    begins: float
    ends: float
    replicas_heard: int = Field(description="In the last minute.")
    complete: bool = Field(description="All replicas of the last five minutes were heard.")


class _ModelKpis(_Kpis):
    model_config = ConfigDict(protected_namespaces=())
    model_name: str = Field(description="The model whose answers these are.")


class BusinessKpis(_ModelKpis):
    """What was answered."""

    total_predictions: int
    positive_ratio: float | None = Field(description="By the model's own label; null without one.")
    negative_ratio: float | None
    avg_confidence: float | None
    high_quality_ratio: float | None = Field(description="Texts with a score of 0.8 or more.")
    predictions_by_label: dict[str, int]
    predictions_by_confidence: dict[str, int]


class LiveAccuracyBody(BaseModel):
    """See `/monitoring/accuracy`."""

    value: float | None
    low: float
    high: float
    n: int
    complete: bool


class QualityKpis(_ModelKpis):
    """How surely it was answered, and how rightly."""

    low_confidence_rate: float | None = Field(description="Texts with a score below 0.6.")
    low_confidence_count: int
    confidence_std: float | None = Field(description="From the middles of the bins.")
    confidence_p5: float | None
    confidence_p50: float | None
    confidence_p95: float | None
    confidence_p99: float | None
    live_accuracy: LiveAccuracyBody | None = Field(
        description="Null without `feedback.enabled`, and of a model that is not served."
    )
    drift_levels: dict[str, str] = Field(description="Empty without `drift.enabled`.")


class CostKpis(_ModelKpis):
    """What it cost."""

    total_cost_usd: float
    cost_per_prediction_usd: float | None
    monthly_estimate_usd: float = Field(description="As the window goes on, for 30 days.")
    cached_predictions: int
    cache_savings_percent: float | None = Field(description="Texts that no engine computed.")
    cost_by_day: dict[str, float]
    basis: str = Field(
        description="`flat`: a price for each text; `replicas`: all CPUs, busy or not."
    )


class BackendLatency(BaseModel):
    """Of one engine."""

    avg_ms: float | None
    p95_ms: float | None
    count: int


class PerformanceKpis(_ModelKpis):
    """How fast it was answered; percentiles are as exact as the bins of the histogram."""

    latency_avg_ms: float | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    latency_p99_ms: float | None
    latency_by_backend: dict[str, BackendLatency]
    throughput_rps: float = Field(description="Texts a second in the last minute.")


class Compliance(BaseModel):
    """A figure beside its target."""

    current: float | None
    target: float
    ok: bool | None = Field(description="Null when nothing was asked.")


class Budget(BaseModel):
    """Of bad requests in 28 days, or since there are figures."""

    allowed: float
    spent: int
    left_share: float | None


class Objective(BaseModel):
    """One objective."""

    name: str
    target: float
    sli: float | None = Field(description="Share of good requests in the window.")
    good: int
    valid: int
    budget: Budget
    burn: dict[str, float | None] = Field(
        description="By time: how many times too fast the budget goes; null without requests."
    )
    alerts: list[str] = Field(description="`page` or `ticket`, with both times.")


class SloKpis(_Kpis):
    """Whether the service keeps its objectives, whichever models answered."""

    compliant: bool | None
    availability: Compliance = Field(description="Percent of valid requests without a 5xx.")
    latency_p95: Compliance
    latency_p99: Compliance
    objectives: list[Objective]
