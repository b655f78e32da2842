"""The metrics of batch jobs; a part of ``metrics.py``, which makes it, under the same rules."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class JobMetrics:
    """What the Jobs deployment counts, as attributes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.texts = Counter(
            "sentiment_job_texts",
            "Texts of batch jobs by result (answered, failed, discarded: classified in vain).",
            ["result"],
            registry=registry,
        )
        self.chunk_seconds = Histogram(
            "sentiment_job_chunk_duration_seconds",
            "Time from the lease of a chunk of a batch job to its stored results.",
            buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
            registry=registry,
        )
        self.wait_seconds = Histogram(
            "sentiment_job_wait_seconds",
            "Time from the submission of a batch job to its first chunk.",
            ["priority"],
            buckets=(0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0),
            registry=registry,
        )
        self.queued_texts = Gauge(
            "sentiment_job_queued_texts",
            "Texts of batch jobs that have not been answered.",
            ["priority"],
            registry=registry,
        )
        self.webhooks = Counter(
            "sentiment_job_webhooks",
            "Messages about ended batch jobs by result (delivered, failed, given_up).",
            ["result"],
            registry=registry,
        )
