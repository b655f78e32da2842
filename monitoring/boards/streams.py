"""Texts that come by Kafka and as batch jobs, and the log of predictions."""

from monitoring.panels import Board, Query, lines, number, row
from monitoring.promql import mean, or_zero, quantile, rate, rose, total
from monitoring.queries import quantiles, rates

_SECONDS = "kafka_message_processing_duration_seconds"
_CHUNK = "sentiment_job_chunk_duration_seconds"
_WAIT = "sentiment_job_wait_seconds"

BOARD = Board(
    name="streams",
    title="sentigraph: Kafka and jobs",
    description="Do streams and batch jobs keep up, and is every prediction logged?",
    numbers=(
        number(
            "Consumer lag",
            "Messages not yet answered. Above 10,000 for five minutes there is a ticket: more "
            "stream replicas up to the number of partitions, or more models.",
            total("kafka_consumer_lag"),
            "short",
            (1_000.0, 10_000.0),
        ),
        number(
            "Messages answered", "A second, lately.", total("kafka_consumer_throughput_tps"), "cps"
        ),
        number(
            "Dead letters",
            "In the time shown. `sentigraph dlq list` shows why, `sentigraph dlq replay` sends "
            "them again.",
            or_zero(rose("kafka_dlq_messages_total")),
            "short",
            (1.0,),
        ),
        number(
            "Texts of jobs waiting", "Over all priorities.", total("sentiment_job_queued_texts")
        ),
        number(
            "Job webhooks given up",
            "In the time shown: callers that did not learn that their job ended.",
            or_zero(rose("sentiment_job_webhooks_total", 'result="given_up"')),
            "short",
            (1.0,),
        ),
        number(
            "Log rows dropped",
            "In the time shown. Above 0 the store was away for longer than the buffer lasts.",
            or_zero(rose("sentiment_prediction_log_rows_total", 'result="dropped"')),
            "short",
            (1.0,),
        ),
    ),
    rows=(
        row(
            "Kafka",
            lines(
                "Messages",
                "consumed and processed run together; apart, they are in flight or fail.",
                Query(rate("kafka_messages_consumed_total"), "consumed"),
                Query(rate("kafka_messages_processed_total"), "processed"),
                Query(or_zero(rate("kafka_dlq_messages_total")), "dead letters"),
                unit="cps",
            ),
            lines(
                "Lag by partition",
                "One partition alone: its messages have one key, or its consumer hangs.",
                Query(total("kafka_consumer_lag", by="partition"), "{{partition}}"),
                stacked=True,
            ),
            lines(
                "From poll to acknowledged result",
                "Follows the serving latency plus the broker's.",
                *quantiles(_SECONDS, (0.5, 0.95, 0.99)),
                unit="s",
            ),
            lines(
                "Failures",
                "Attempts that failed, by error code; retried ones are tried again, the "
                "others become dead letters.",
                rates("kafka_messages_failed_total", by="error_type"),
                Query(rate("kafka_messages_retried_total"), "retried"),
                unit="cps",
            ),
            lines(
                "Batches and messages in flight",
                "In flight at its limit (`stream.max_in_flight`): the model is what is slow.",
                Query(mean("kafka_batch_size"), "messages of one poll"),
                Query(total("kafka_messages_in_flight"), "in flight"),
            ),
            lines(
                "Broker trouble",
                "Rebalances without a deployment, commits that fail, results sent again: "
                "the broker or the network.",
                rates("kafka_rebalances_total", by="kind"),
                Query(rate("kafka_commit_failures_total"), "commit failed"),
                Query(rate("kafka_send_failures_total"), "sent again"),
                unit="cps",
            ),
        ),
        row(
            "Batch jobs",
            lines(
                "Texts of jobs",
                "discarded: classified in vain, because a lease was lost.",
                rates("sentiment_job_texts_total", by="result"),
                unit="cps",
                stacked=True,
            ),
            lines(
                "Texts waiting",
                "By priority. low may wait for hours, high for seconds.",
                Query(total("sentiment_job_queued_texts", by="priority"), "{{priority}}"),
                stacked=True,
            ),
            lines(
                "Chunks and waits",
                "A chunk: from its lease to stored results. The wait: from submission to the "
                "first chunk.",
                Query(quantile(0.95, _CHUNK), "chunk, p95"),
                Query(quantile(0.95, _WAIT, by="priority"), "wait, {{priority}}, p95"),
                unit="s",
            ),
            lines(
                "Webhooks",
                "Messages about ended jobs, a minute. failed ones are tried again.",
                Query(f"60 * {rate('sentiment_job_webhooks_total', by='result')}", "{{result}}"),
                unit="cpm",
                stacked=True,
            ),
        ),
        row(
            "Prediction log",
            lines(
                "Rows",
                "kept: in the write-ahead file. stored: in Parquet. dropped: lost.",
                rates("sentiment_prediction_log_rows_total", by="result"),
                unit="cps",
            ),
            lines(
                "Not yet stored",
                "Write-ahead files, of all replicas. Rising for an hour: the store is away.",
                Query(total("sentiment_prediction_log_buffer_bytes"), "bytes"),
                unit="bytes",
            ),
            lines(
                "Files that could not be written",
                "They are tried again; look at the store's credentials and quota.",
                Query(rate("sentiment_prediction_log_failures_total"), "failed"),
                unit="cps",
                limits=(0.01,),
            ),
        ),
    ),
)
