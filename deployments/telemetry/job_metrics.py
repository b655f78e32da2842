"""The metrics of batch jobs, under the rules of ``metrics.py``."""

from deployments.telemetry.metric_table import MetricTable, counter, gauge, histogram


class JobMetrics(MetricTable):
    """What the Jobs deployment counts."""

    texts = counter(
        "sentiment_job_texts",
        "Texts of batch jobs by result (answered, failed, discarded: classified in vain).",
        "result",
        known=("answered", "failed", "discarded"),
    )
    chunk_seconds = histogram(
        "sentiment_job_chunk_duration_seconds",
        "Time from the lease of a chunk of a batch job to its stored results.",
        buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
    )
    wait_seconds = histogram(
        "sentiment_job_wait_seconds",
        "Time from the submission of a batch job to its first chunk.",
        "priority",
        buckets=(0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0),
    )
    queued_texts = gauge(
        "sentiment_job_queued_texts", "Texts of batch jobs that have not been answered.", "priority"
    )
    webhooks = counter(
        "sentiment_job_webhooks",
        "Messages about ended batch jobs by result (delivered, failed, given_up).",
        "result",
        known=("delivered", "failed", "given_up"),
    )
