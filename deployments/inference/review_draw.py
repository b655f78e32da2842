"""Which answers are drawn for review. Pure; called between answers, never before one."""

from collections.abc import Callable

from configs.schema.feedback import FeedbackConfig
from configs.schema.prediction_log import PredictionLogConfig
from deployments.payloads import DrawnAnswer
from deployments.prediction_log.rows import Source, text_policy
from deployments.predictions import Answer
from deployments.versions import share

# Less between the two best labels, or between a score and its threshold, is a small margin.
_MARGIN = 0.3


def review_draw(
    config: FeedbackConfig, source: Source
) -> Callable[[float, Answer], DrawnAnswer | None] | None:
    """Draws answers by their ids, so every replica draws the same; None where none is drawn."""
    if not config.enabled or config.text == "none":
        return None
    kept = text_policy(PredictionLogConfig(text=config.text))

    def draw(answered_s: float, answer: Answer) -> DrawnAnswer | None:
        if answer.model.head.task == "regression":
            return None  # There is no label to give.
        number = answer.id.encode("ascii")
        if share(b"audit", number) < config.audit_share:
            drawn, chance = "random", config.audit_share
        elif _margin(answer) < _MARGIN and share(b"margin", number) < config.margin_share:
            drawn, chance = "margin", config.margin_share
        else:
            return None
        return DrawnAnswer(
            prediction_id=answer.id,
            digest=answer.model.digest,
            answered_s=answered_s,
            text=kept(answer.text) or "",
            label=answer.label,
            scores=answer.scores,
            drawn=drawn,
            share=chance,
            source=source,
        )

    return draw


def _margin(answer: Answer) -> float:
    if thresholds := answer.model.head.thresholds:
        pairs = zip(answer.scores.values(), thresholds, strict=True)
        return min(abs(score - threshold) for score, threshold in pairs)
    scores = sorted(answer.scores.values())
    return scores[-1] - scores[-2] if len(scores) > 1 else 1.0
