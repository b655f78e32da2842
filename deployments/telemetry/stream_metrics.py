"""The metrics of streams and of the prediction log, under the specification's names.

The rules of ``metrics.py`` hold. A replica of the Stream deployment also counts what is there.
"""

from deployments.telemetry.metric_table import MetricTable, counter, gauge, histogram


class StreamMetrics(MetricTable):
    """What is read from Kafka and sent to it."""

    consumed = counter("kafka_messages_consumed", "Messages read.", "topic", "partition")
    processed = counter("kafka_messages_processed", "Messages whose result is acknowledged.")
    failed = counter(
        "kafka_messages_failed", "Attempts at a message that failed, by error code.", "error_type"
    )
    retried = counter("kafka_messages_retried", "Messages tried once more.")
    dead_letters = counter(
        "kafka_dlq_messages", "Messages in the dead letters' topic.", "error_type"
    )
    lag = gauge("kafka_consumer_lag", "Messages not yet acknowledged, by partition.", "partition")
    rate = gauge("kafka_consumer_throughput_tps", "Messages acknowledged a second, lately.")
    processing_seconds = histogram(
        "kafka_message_processing_duration_seconds",
        "Time from the poll to the acknowledgement of the result.",
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    )
    batch_size = histogram(
        "kafka_batch_size",
        "Messages of one poll.",
        buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    )
    in_flight = gauge("kafka_messages_in_flight", "Messages read and not acknowledged.")
    rebalances = counter(
        "kafka_rebalances", "Changes of who reads what (assigned, revoked, lost).", "kind"
    )
    commit_failures = counter("kafka_commit_failures", "Commits that failed.")
    send_failures = counter("kafka_send_failures", "Results and dead letters that were sent again.")


class PredictionLogMetrics(MetricTable):
    """What becomes of the rows of the prediction log."""

    rows = counter(
        "sentiment_prediction_log_rows",
        "Rows by what became of them (kept, stored, dropped).",
        "result",
    )
    buffer_bytes = gauge(
        "sentiment_prediction_log_buffer_bytes", "Write-ahead files that are not yet Parquet."
    )
    failures = counter(
        "sentiment_prediction_log_failures",
        "Files that could not be written; they are tried again.",
    )
