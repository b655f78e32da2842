"""The metrics of drift detection, under the rules of ``metrics.py``."""

import math

from prometheus_client import CollectorRegistry

from deployments.telemetry.metric_table import MetricTable, counter, gauge


class InsightMetrics(MetricTable):
    """What replicas send to the Insight deployment, and what that finds of the champion."""

    texts = counter(
        "sentiment_drift_texts",
        "Answered texts by whether they count for drift (counted, dropped: they came faster than "
        "they could be counted, or Insight was away too long).",
        "result",
        known=("counted", "dropped"),
    )
    unsent_seconds = gauge(
        "sentiment_drift_unsent_seconds",
        "Age of the oldest counts of this replica that Insight has not taken.",
    )
    block_timestamp = gauge(
        "sentiment_drift_block_timestamp_seconds",
        "When counts were last compared with the champion's reference, in Unix time.",
    )
    reference_texts = gauge(
        "sentiment_drift_reference_texts",
        "Distinct texts in the champion's reference; while it is learned, so far.",
    )
    evidence = gauge(
        "sentiment_drift_evidence",
        "Evidence that a signal drifted, as a part of what is an alarm: 1 alarms.",
        "signal",
    )
    level = gauge(
        "sentiment_drift_level", "Of each signal: 0 as usual, 1 changed, 2 drifted.", "signal"
    )

    feedback_events = counter(
        "sentiment_feedback_events",
        "What callers said of answers, as it was kept, by result (correct, wrong).",
        "result",
        known=("correct", "wrong"),
    )
    live_accuracy = gauge(
        "sentiment_live_accuracy",
        "Accuracy of the champion by answers drawn at random and judged: value, low, high; the "
        "range holds however often it is read.",
        "bound",
    )
    audited = gauge("sentiment_audited_answers", "Judged answers behind the live accuracy.")
    accuracy_lost = gauge(
        "sentiment_accuracy_lost_evidence",
        "Evidence that the accuracy is over two points below its reference: 1 alarms.",
    )
    label_queue = gauge("sentiment_label_queue", "Answers that wait for review, by kind.", "kind")

    def __init__(self, registry: CollectorRegistry) -> None:
        """Makes the families."""
        super().__init__(registry)
        self.clear_champion()

    def clear_champion(self) -> None:
        """Shows that nothing is known of the champion."""
        self.block_timestamp.set(math.nan)
        self.reference_texts.set(0)
        self.evidence.clear()
        self.level.clear()
