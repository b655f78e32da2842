"""Bodies of the drift routes. Times are Unix time in seconds."""

from typing import Literal

from pydantic import BaseModel, Field

LevelName = Literal["none", "changed", "drifted"]


class Thresholds(BaseModel):
    """From what on a row of the report is marked; nothing alarms by them."""

    psi: float
    ks_pvalue: float


class ReferenceBody(BaseModel):
    """What traffic is compared with."""

    id: str = Field(description="For `If-Match`; empty while it is learned.")
    kind: Literal["learning", "first_answers", "accepted"]
    n: int = Field(description="Distinct texts; while it is learned, so far.")
    n_wanted: int
    made: float | None


class FalseAlarmRate(BaseModel):
    """The promise: within the horizon any false alarm has at most the chance `alpha`."""

    alpha: float
    horizon_days: float
    tests: int = Field(description="One-sided tests that share `alpha`.")


class DriftSummary(BaseModel):
    """The state of one version."""

    enabled: bool = True
    model_name: str
    model_version: int
    model_digest: str
    baseline_established: bool
    baseline_size: int
    current_window_size: int
    pending_texts: int = Field(description="Counted, and not compared yet.")
    last_check: float | None
    total_drift_checks: int
    drifts_last_24h: int
    latest_drift_score: float = Field(description="Strongest evidence of drift; 1 is an alarm.")
    thresholds: Thresholds
    reference: ReferenceBody
    levels: dict[str, LevelName]
    since: dict[str, float]
    false_alarm_rate: FalseAlarmRate


class SignalBody(BaseModel):
    """One signal of the window beside the reference; only `level` and `evidence` alarm."""

    n: int
    n_reference: int
    measure: str = Field(description="The mean that moved most: `rank`, `spread` or a kind.")
    mean: float
    mean_reference: float
    psi: float
    psi_expected: float = Field(description="What `psi` is on average without drift.")
    ks_d: float
    p_holm: float = Field(description="Of one look; looking often makes it small now and then.")
    evidence: float = Field(description="As a part of what alarms, however often it is read.")
    level: LevelName
    since: float | None
    marked: bool = Field(description="`psi` or `p_holm` is beyond its setting.")


class DriftCheck(BaseModel):
    """The window beside the reference. Reading it changes nothing."""

    timestamp: float
    verdict: Literal["not_enough_data", "none", "changed", "drifted"]
    missing_texts: int = Field(description="Until there are enough.")
    data_drift_detected: bool = Field(description="A signal of the texts drifted.")
    prediction_drift_detected: bool = Field(description="The labels or the confidence drifted.")
    drift_score: float
    statistical_tests: dict[str, SignalBody]
    feature_drifts: dict[str, bool]


class ChangeRequest(BaseModel):
    """Why the state is changed."""

    reason: str = Field("", max_length=1_000)


class ResetRequest(ChangeRequest):
    """What begins anew."""

    relearn: bool = Field(False, description="Learn a new reference too.")


class BaselineRequest(ChangeRequest):
    """What becomes usual."""

    force: bool = Field(False, description="Also while something has drifted.")


class Changed(BaseModel):
    """What was done."""

    message: str
    reference: ReferenceBody


class DriftEvent(BaseModel):
    """Something that happened."""

    at: float
    kind: Literal["level", "ended", "reference", "reset"]
    signal: str
    level: str
    actor: str
    reason: str


class Events(BaseModel):
    """The latest first."""

    events: list[DriftEvent]
