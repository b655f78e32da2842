"""The metrics of streams, of the prediction log and of traces, under the specification's names.

The second half of ``metrics.py``, which makes it; the same rules hold. A replica of the
Stream deployment counts the first half, whoever predicts the second.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class StreamMetrics:
    """What comes and goes over Kafka, as attributes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, buckets=buckets, registry=registry)

        self.consumed = counter("kafka_messages_consumed", "Messages read.", "topic", "partition")
        self.processed = counter(
            "kafka_messages_processed", "Messages whose result is acknowledged."
        )
        self.failed = counter(
            "kafka_messages_failed",
            "Attempts at a message that failed, by error code.",
            "error_type",
        )
        self.retried = counter("kafka_messages_retried", "Messages tried once more.")
        self.dead_letters = counter(
            "kafka_dlq_messages", "Messages in the dead letters' topic.", "error_type"
        )
        self.lag = gauge(
            "kafka_consumer_lag", "Messages not yet acknowledged, by partition.", "partition"
        )
        self.rate = gauge(
            "kafka_consumer_throughput_tps", "Messages acknowledged a second, lately."
        )
        self.processing_seconds = histogram(
            "kafka_message_processing_duration_seconds",
            "Time from the poll to the acknowledgement of the result.",
            (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
        )
        self.batch_size = histogram(
            "kafka_batch_size", "Messages of one poll.", (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
        )
        self.in_flight = gauge("kafka_messages_in_flight", "Messages read and not acknowledged.")
        self.rebalances = counter(
            "kafka_rebalances", "Changes of who reads what (assigned, revoked, lost).", "kind"
        )
        self.commit_failures = counter("kafka_commit_failures", "Commits that failed.")
        self.send_failures = counter(
            "kafka_send_failures", "Results and dead letters that were sent again."
        )


class PredictionLogMetrics:
    """What becomes of the rows of the prediction log, as attributes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.rows = Counter(
            "sentiment_prediction_log_rows",
            "Rows by what became of them (kept, stored, dropped).",
            ["result"],
            registry=registry,
        )
        self.buffer_bytes = Gauge(
            "sentiment_prediction_log_buffer_bytes",
            "Write-ahead files that are not yet Parquet.",
            registry=registry,
        )
        self.failures = Counter(
            "sentiment_prediction_log_failures",
            "Files that could not be written; they are tried again.",
            registry=registry,
        )


def span_counter(registry: CollectorRegistry) -> Counter:
    """What becomes of the spans that this replica sends; each result is there from the start."""
    spans = Counter(
        "sentiment_trace_spans",
        "Spans by what became of them (exported, dropped: too many waited, failed).",
        ["result"],
        registry=registry,
    )
    for result in ("exported", "dropped", "failed"):
        spans.labels(result)
    return spans
