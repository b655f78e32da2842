"""Settings of where models are kept and how a version goes live. Part of ``schema.py``."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from configs.schema.section import Section

_MODEL_STORES = r"^(https?|(sqlite|postgresql|mysql|mssql)(\+\w+)?)://.*$"


class RegistryConfig(Section):
    """Where model truth lives."""

    tracking_uri: str = Field(
        "sqlite:///.sentigraph/mlflow.db",
        pattern=_MODEL_STORES,
        json_schema_extra={"limits": "an http, https, sqlite, postgresql, mysql or mssql URI"},
        description="MLflow tracking and registry URI. A relative sqlite path starts from the home folder (`SENTIGRAPH_HOME`).",
    )
    username: str = Field(
        "", description="User of an MLflow server that asks for one; empty sends none."
    )
    password: SecretStr = Field(
        SecretStr(""),
        description="Its password; one that Vault changes is sent from then on. Never shown or logged.",
    )
    artifact_root: str = Field(
        ".sentigraph/artifacts",
        min_length=1,
        description="Folder or URI where new experiments keep artifacts when the tracking URI is a database; a relative path starts from the home folder.",
    )
    bundle_cache_dir: str = Field(
        ".sentigraph/bundles",
        min_length=1,
        description="Node-local folder of verified bundles, by digest; a relative path starts from the home folder.",
    )
    bundled_model_dir: str = Field(
        "models/sentiment",
        min_length=1,
        description="Bundle registered as version 1 when the registry has no such model; a relative path starts from the home folder.",
    )
    max_artifact_bytes: int = Field(
        1_073_741_824,
        ge=1_024,
        le=1 << 40,
        description="Bytes of one uploaded model file or archive, packed and unpacked; a larger one is refused with 413.",
    )
    max_stored_bytes: int = Field(
        68_719_476_736,
        ge=1_024,
        le=1 << 50,
        description="Bytes of all files of models in a local `artifact_root`; an upload that would exceed it is refused with 429 E8007. `bundle_cache_dir` and archives for download are copies of what is there, so each node's are bounded by it too.",
    )
    watch_interval_ms: int = Field(
        500,
        ge=50,
        le=60_000,
        description="Pause between two looks at MLflow; a moved alias is noticed after this time at the latest.",
    )

    @model_validator(mode="after")
    def _one_upload_fits(self) -> Self:
        if self.max_artifact_bytes > self.max_stored_bytes:
            raise ValueError(
                f"registry.max_artifact_bytes={self.max_artifact_bytes} is above "
                f"registry.max_stored_bytes={self.max_stored_bytes}"
            )
        return self


class RolloutConfig(Section):
    """What a version must show on every replica before it may answer."""

    ack_timeout_ms: int = Field(
        60_000,
        ge=100,
        le=3_600_000,
        description="Time for all replicas to load and probe a version; afterwards it is refused.",
    )
    max_slowdown: float = Field(
        5.0,
        gt=0,
        le=1_000_000,
        description="A version whose golden texts take more than this many times the champion's time is refused.",
    )
    max_shadow_requests: int = Field(
        64,
        ge=1,
        le=100_000,
        description="Requests that one Ingress, Stream or Jobs replica has under way to the shadow version; further ones are skipped and counted.",
    )
    min_golden_agreement: float = Field(
        0.7,
        ge=0,
        le=1,
        description="A version that gives fewer of the golden texts the champion's label is refused; 0 asks for none.",
    )
    slow_ratio: float = Field(
        2.0,
        ge=1,
        le=1_000,
        description="In a release, a text is slow that takes the candidate more than this many times the champion's time; the model's `policy.release.max_slower` limits their share.",
    )
    drift_step: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="In a release, a text has drifted whose champion's label moves by more than this in probability; `policy.release.max_drifted` limits their share.",
    )
    max_remembered_predictions: int = Field(
        50_000,
        ge=0,
        le=10_000_000,
        description="Answers that one Ingress, Stream or Jobs replica remembers for feedback, about 400 bytes each; older ones are 404 then. 0 remembers none.",
    )
