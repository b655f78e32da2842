"""Settings of feedback: how answers are named, which are drawn for review, what is kept."""

from typing import Literal

from pydantic import Field, SecretStr

from configs.schema.section import Section


class FeedbackConfig(Section):
    """What people say of answers, and how often answers are right."""

    enabled: bool = Field(
        False,
        description="Keep feedback in `drift.database`, draw answers for review and run the Insight deployment. When off, `/api/v1/feedback` judges the answers that replicas remember, and `/api/v1/monitoring/labels…` and `…/accuracy` answer 503 E8001.",
    )
    id_key: SecretStr = Field(
        SecretStr(""),
        description="Signs prediction ids, so that made-up ones are 404; the same in all replicas. Without one, whoever reads the source can make ids up.",
    )
    old_id_key: SecretStr = Field(
        SecretStr(""),
        description="The key before, so that ids signed with it are still taken after a change.",
    )
    max_age_days: float = Field(
        90,
        gt=0,
        le=3_650,
        description="Feedback on older answers is 404; labels and events are deleted after twice that time.",
    )
    audit_share: float = Field(
        0.005,
        ge=0,
        le=1,
        description="Part of all answers that is drawn at random for review; accuracy is measured on them alone. 0 draws none.",
    )
    margin_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Part of the answers between whose two best labels there is little, drawn for review as well; they teach more and measure nothing.",
    )
    text: Literal["none", "redacted", "plain"] = Field(
        "redacted",
        description="What is kept of the text of a drawn answer, as in `prediction_log.text`; with `none` there is nothing to review.",
    )
    max_waiting: int = Field(
        10_000,
        ge=10,
        le=1_000_000,
        description="Drawn answers of a model that wait for review; beyond it those drawn for their small margin are dropped first, then the oldest.",
    )
    lease_s: float = Field(
        900,
        ge=1,
        le=86_400,
        description="Time that one reviewer has an answer alone; afterwards others are given it.",
    )
    alpha: float = Field(
        0.05,
        ge=0.0001,
        le=0.5,
        description="Chance that the range given for the accuracy ever misses it, however often it is read.",
    )
    reference_accuracy: float = Field(
        0,
        ge=0,
        le=1,
        description="Accuracy that the model should have; once it is proven to be over two points below, `AccuracyLost` alarms. 0 never alarms.",
    )
