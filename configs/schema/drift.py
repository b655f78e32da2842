"""Settings of drift detection: what is compared, and what counts as a change."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from configs.schema.section import DatabaseUri, Section


class DriftConfig(Section):
    """Whether the traffic and the answers are still what they were."""

    enabled: bool = Field(
        False,
        description="Count texts and answers as histograms and run the Insight deployment; when off, `/api/v1/monitoring/drift…` answers 503 E8001.",
    )
    database: DatabaseUri = Field(
        SecretStr("sqlite:///.sentigraph/insight.db"),
        description="Where counts, references and events are kept; no texts. A relative sqlite path starts from the home folder and must survive the node; PostgreSQL needs the extra `postgres`. A secret, for it may hold a password: never shown or logged; another login of the same database in Vault is used at each new connection.",
    )
    baseline_texts: int = Field(
        5_000,
        ge=1_000,
        le=1_000_000,
        description="Distinct texts that a version's reference is learned from, the first that it answers. Fewer find a drift later: what the reference itself may be off by is allowed for.",
    )
    alpha: float = Field(
        0.05,
        ge=0.0001,
        le=0.5,
        description="Chance of any false alarm within `horizon_days`, over all signals; smaller means later alarms.",
    )
    horizon_days: float = Field(
        28, ge=1, le=366, description="Time that `alpha` speaks of; longer means later alarms."
    )
    tolerance: float = Field(
        0.02,
        ge=0.001,
        le=0.4,
        description="Shift of a number's mean rank that is no drift: at 0.02 a new text exceeds an old one in 52 of 100 pairs.",
    )
    label_tolerance: float = Field(
        0.03,
        ge=0.001,
        le=0.4,
        description="Shift of a share, as a label's, that is no drift; 0.03 is three points.",
    )
    report_interval_s: float = Field(
        10,
        ge=0.1,
        le=60,
        description="Pause between two reports of a replica, and the shortest time of a block of texts; a longer one means later and slightly easier alarms.",
    )
    window_size: int = Field(
        1_000,
        ge=100,
        le=10_000,
        description="Latest texts that `…/drift/check` and the report compare with the reference; of the last 24 hours. Alarms do not depend on it.",
    )
    min_samples: int = Field(
        100,
        ge=10,
        le=1_000,
        description="Texts in the window below which `…/drift/check` answers `not_enough_data`.",
    )
    psi_threshold: float = Field(
        0.1,
        gt=0,
        le=10,
        description="Population stability index from which a row of the report is marked; no alarm.",
    )
    ks_threshold: float = Field(
        0.05,
        gt=0,
        le=1,
        description="p-value, corrected for all signals, below which a row of the report is marked; no alarm.",
    )

    @model_validator(mode="after")
    def _window_can_be_full(self) -> Self:
        if self.min_samples > self.window_size:
            raise ValueError(
                f"drift.min_samples={self.min_samples} is above drift.window_size="
                f"{self.window_size}, so there would never be enough"
            )
        return self
