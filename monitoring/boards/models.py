"""Which version answers, whether versions agree, and whether people do."""

from monitoring.panels import Board, Query, lines, number, row
from monitoring.promql import mean, or_zero, quantile, rate, rose, series, share
from monitoring.queries import quantiles, rates

_INFO = "sentiment_model_version_info"
_SCORE = "sentiment_prediction_score"
_SHADOWED = "sentiment_shadow_predictions_total"
_SAME = "sentiment_shadow_prediction_matches_total"
_OTHER = "sentiment_shadow_prediction_mismatches_total"
_FEEDBACK = "sentiment_feedback_total"
_PREDICTIONS = "sentiment_predictions_total"
_SERVING, _REGISTERED = "sentiment_serving_version", "sentiment_registry_version"
_CHAMPION = 'role="champion"'
_EVIDENCE, _LEVEL = "sentiment_drift_evidence", "sentiment_drift_level"
_ACCURACY, _AUDITED = "sentiment_live_accuracy", "sentiment_audited_answers"
_LOST, _QUEUE = "sentiment_accuracy_lost_evidence", "sentiment_label_queue"
_REFERENCE = "sentiment_drift_reference_texts"
_SHADOW_SECONDS = "sentiment_shadow_prediction_duration_seconds"


def _of_both(result: str) -> str:
    return share(rose(_FEEDBACK, f'result="{result}"'), rose(_FEEDBACK))


BOARD = Board(
    name="models",
    title="sentigraph: model versions and releases",
    description="Which version answers, does the next one agree with it, and do people?",
    numbers=(
        number(
            "Served champion",
            "The version that answers, as the registry numbers them.",
            f"max({series(_SERVING, _CHAMPION)})",
        ),
        number(
            "Not as registered",
            "Roles in which an ingress asks another version than the registry names. For five "
            "minutes: `sentigraph status`, then `sentigraph models audit`.",
            f"count(max by (name, role) ({series(_SERVING)}) != on (name, role) "
            f"max by (name, role) ({series(_REGISTERED)})) or vector(0)",
            "short",
            (1.0,),
        ),
        number(
            "Mean score",
            "Probability of the predicted label. A step without a release: texts have changed.",
            mean(_SCORE),
            "percentunit",
        ),
        number(
            "Shadow agrees",
            "Share of compared texts with the same label, in the time shown. What the release "
            "policy asks for is `min_agreement`.",
            f"{rose(_SAME)} / ({rose(_SAME)} + {rose(_OTHER)})",
            "percentunit",
            (0.9, 0.95),
            low_is_bad=True,
        ),
        number(
            "Judged wrong",
            "Share of the answers that people judged, in the time shown.",
            _of_both("wrong"),
            "percentunit",
            (0.15, 0.25),
        ),
        number(
            "Answers judged",
            "Feedback in the time shown; a release that asks for it waits while there is none.",
            or_zero(rose(_FEEDBACK)),
        ),
    ),
    rows=(
        row(
            "Versions",
            lines(
                "Replicas by live version",
                "A release is a step from one line to the next within seconds. Two lines "
                "side by side: some replicas have not followed.",
                Query(f"count by (name, version) ({series(_INFO)} == 1)", "{{name}} {{version}}"),
                stacked=True,
            ),
            lines(
                "Served beside registered",
                "By role; 0 where no version has it. Lines that stay apart: the change of an "
                "alias did not reach the ingresses (alert ServingDrift).",
                Query(f"max by (role) ({series(_SERVING)})", "{{role}} served"),
                Query(f"max by (role) ({series(_REGISTERED)})", "{{role}} registered"),
            ),
            lines(
                "Share of each label",
                "Moves slowly with what people write; a step at a release means another "
                "model, a step without one other texts.",
                Query(
                    f"{rate(_PREDICTIONS, by='label')} / on () group_left () {rate(_PREDICTIONS)}",
                    "{{label}}",
                ),
                unit="percentunit",
                stacked=True,
                maximum=1.0,
            ),
            lines(
                "Score of the predicted label",
                "p5 shows the doubtful texts. Falling for weeks: time to train again.",
                Query(mean(_SCORE), "mean"),
                Query(quantile(0.05, _SCORE), "p5"),
                Query(quantile(0.5, _SCORE), "p50"),
                unit="percentunit",
                maximum=1.0,
            ),
        ),
        row(
            "Drift of the champion",
            lines(
                "Evidence of drift",
                "By signal; 1 is an alarm (DriftDetected), however often it is read. What "
                "stays below is within the tolerance.",
                Query(f"max by (signal) ({series(_EVIDENCE)})", "{{signal}}"),
            ),
            lines(
                "Level of each signal",
                "0 as usual, 1 changed, 2 drifted; it holds until it is acknowledged or a day "
                "was as usual.",
                Query(f"max by (signal) ({series(_LEVEL)})", "{{signal}}"),
            ),
            lines(
                "Texts that count",
                "dropped: they came faster than they could be counted, or Insight was away.",
                rates("sentiment_drift_texts_total", by="result"),
                unit="cps",
                stacked=True,
            ),
            lines(
                "Texts in the reference",
                "Rising while it is learned from the first answers of a version.",
                Query(f"max({series(_REFERENCE)})", "texts"),
            ),
        ),
        row(
            "Live accuracy",
            lines(
                "Accuracy of the champion",
                "By answers drawn at random and judged; low to high holds however often it is "
                "read (AccuracyLost).",
                Query(f"max by (bound) ({series(_ACCURACY)})", "{{bound}}"),
                unit="percentunit",
                maximum=1.0,
            ),
            lines(
                "Judged answers behind it, and evidence of a fall",
                "At 30 a day a fall of four points takes weeks to prove.",
                Query(f"max({series(_AUDITED)})", "judged"),
                Query(f"max({series(_LOST)})", "evidence, 1 alarms"),
            ),
            lines(
                "Answers that wait for review",
                "By kind; margin: the model hesitated. conflict: reviewers disagree.",
                Query(f"max by (kind) ({series(_QUEUE)})", "{{kind}}"),
            ),
            lines(
                "What callers say",
                "A minute, as it is kept; who reports is no random sample.",
                Query(f"60 * {rate('sentiment_feedback_events_total', by='result')}", "{{result}}"),
                unit="cpm",
                stacked=True,
            ),
        ),
        row(
            "Shadow and feedback",
            lines(
                "Texts that the shadow was asked",
                "skipped: it has no time, which costs callers nothing. failed: it cannot "
                "answer; the release rolls back.",
                rates(_SHADOWED, by="result"),
                unit="cps",
                stacked=True,
            ),
            lines(
                "Agreement of the shadow",
                "Same and other labels a second.",
                Query(rate(_SAME), "same label"),
                Query(rate(_OTHER), "other label"),
                unit="cps",
                stacked=True,
            ),
            lines(
                "Duration of shadow answers",
                "Beside the champion's on the serving dashboard: a slower candidate shows "
                "here first.",
                *quantiles(_SHADOW_SECONDS, (0.5, 0.95)),
                unit="s",
            ),
            lines(
                "Feedback",
                "Answers that a person judged, a minute.",
                Query(f"60 * {rate(_FEEDBACK, by='result')}", "{{result}}"),
                unit="cpm",
                stacked=True,
            ),
        ),
    ),
)
