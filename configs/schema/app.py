"""Every setting of sentigraph, with its default and its limits.

Values only: nothing here reads a file or the environment (``load.py`` does), and no
module reads settings at import. Each field says what happens at its limit. Unknown
keys are refused, so a misspelt setting never passes silently.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from configs.schema.access import AccessConfig
from configs.schema.cache import CacheConfig
from configs.schema.chaos import ChaosConfig
from configs.schema.conflicts import conflicts
from configs.schema.dependencies import BreakerConfig, RedisConfig, VaultConfig
from configs.schema.drift import DriftConfig
from configs.schema.explanations import ExplanationsConfig
from configs.schema.feedback import FeedbackConfig
from configs.schema.jobs import JobsConfig
from configs.schema.kpis import KpisConfig
from configs.schema.prediction_log import PredictionLogConfig
from configs.schema.registry import RegistryConfig, RolloutConfig
from configs.schema.replicas import AutoscalingConfig, ReplicasConfig
from configs.schema.section import Section as _Part
from configs.schema.stream import StreamConfig
from configs.schema.tracing import TracingConfig

# ``limits`` is what a person reads where the pattern would say little.
Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        pattern=r"^[\w.\-]+$",
        json_schema_extra={"limits": "1 to 255 letters, digits, `_`, `.` or `-`"},
    ),
]
Profile = Literal["local", "development", "staging", "production"]


class ServerConfig(_Part):
    """What every HTTP answer has in common."""

    app_name: str = Field(
        "sentigraph", description="Name shown at `/` and in the OpenAPI document."
    )
    service_name: str = Field(
        "sentigraph",
        min_length=1,
        description="What log lines and traces call this application.",
    )
    docs_enabled: bool = Field(
        True,
        description="Serve `/api/v1/docs` and `/api/v1/openapi.json`; when off they answer 404.",
    )
    console_enabled: bool = Field(
        True,
        description="Serve the console, a page for people, at `/console`; when off it answers 404. Its files need no key; what it shows needs that of the person.",
    )
    metrics_enabled: bool = Field(
        True,
        description="Serve `/metrics` and `/api/v1/metrics`; when off they answer 404, and only Ray exports the figures.",
    )
    metrics_cache_ms: int = Field(
        0,
        ge=0,
        le=300_000,
        description="For so long the metrics page is shown again instead of being made anew; for many scrapers. 0 makes each anew.",
    )
    cors_origins: tuple[str, ...] = Field(
        (),
        json_schema_extra={"limits": "a list of origins such as `https://shop.example`, or `*`"},
        description="Origins whose pages may call the API from a browser; without credentials such as cookies. Empty allows none.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe log record that is written."
    )
    access_log: bool = Field(
        True,
        description="One JSON line per request in `access_*.log` beside Serve's logs (what `docs/guides/monitoring.md` lists; never the text).",
    )
    front_only: bool = Field(
        False,
        description="Answer only what came through this cluster's HAProxy; a request to a replica's own port is refused with 403 E3002. Needs Ray's token (`RAY_AUTH_MODE=token`). `sentigraph serve` sets it, because Ray's gRPC ports are open on all addresses of the machine.",
    )
    fast_path: bool = Field(
        True,
        description="Answer plain requests to the predict routes in the HTTP server's callbacks; when off they go through Ray Serve like all others, with the same answers at three times the CPU.",
    )


class LimitsConfig(_Part):
    """What a request may ask for. Beyond a limit it is refused before any compute."""

    max_text_chars: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Characters in one text; a longer one is refused with 422 E1002.",
    )
    max_batch_texts: int = Field(
        1_000,
        ge=1,
        le=100_000,
        description="Texts in one batch request; more are refused with 422 E1005.",
    )
    max_body_bytes: int = Field(
        4_194_304,
        ge=1_024,
        le=1_073_741_824,
        description="Bytes in a request body; a larger one is refused with 413.",
    )
    default_deadline_ms: int = Field(
        10_000,
        ge=1,
        le=600_000,
        description="Time for a request that names no `X-Deadline-Ms`; afterwards 504 E2003.",
    )
    max_deadline_ms: int = Field(
        60_000,
        ge=1,
        le=600_000,
        description="Longest deadline a client may ask for; a longer one is cut to this.",
    )
    max_queued_texts: int = Field(
        2_048,
        ge=1,
        le=1_000_000,
        description="Texts of each class, interactive and bulk, waiting in one ingress replica; beyond it 429 E4005 with Retry-After.",
    )
    max_wait_ms: int = Field(
        2_000,
        ge=1,
        le=600_000,
        description="Longest predicted wait of an interactive text; beyond it 429 E4005 with Retry-After. Any text is refused whose deadline would pass first.",
    )

    caller_texts_per_s: float = Field(
        0,
        ge=0,
        le=1e9,
        description="Texts of one caller (its key, else its address) in a second that no cache answers, in each replica that takes texts; beyond it 429 E4003 with Retry-After. 0 sets no limit: callers share the engines alike.",
    )
    texts_per_s: float = Field(
        0,
        ge=0,
        le=1e9,
        description="The same of all callers together. 0 sets no limit.",
    )

    @model_validator(mode="after")
    def _deadlines_agree(self) -> Self:
        if self.default_deadline_ms > self.max_deadline_ms:
            raise ValueError(
                f"limits.default_deadline_ms={self.default_deadline_ms} is above "
                f"limits.max_deadline_ms={self.max_deadline_ms}"
            )
        return self


class ModelConfig(_Part):
    """Which model is served, and how its engine runs."""

    name: Name = Field("sentiment", description="Registered model name in MLflow.")
    allowed_names: tuple[Name, ...] = Field(
        (),
        json_schema_extra={"limits": "a list of registered model names"},
        description="Names that `model.name` may have; another one is refused at start. Empty allows any.",
    )
    alias: Name = Field("champion", description="Alias whose version is served.")
    provider: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="Where the engine computes: `auto` takes CUDA where the replica owns a GPU and the runtime has it, else the CPU; `cuda` refuses to start without.",
    )
    intra_op_threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Engine threads of one model replica; 0 shares the machine's cores among the replicas.",
    )
    warmup_runs: int = Field(
        1,
        ge=0,
        le=100,
        description="Inferences at each of three lengths before a replica reports ready; 0 makes the first request slow.",
    )
    surface_budget_ms: int = Field(
        1_500,
        ge=0,
        le=600_000,
        description="Time for measuring what batches cost when a model of a new shape is first loaded on a kind of host; what does not fit is estimated. The result is kept beside the bundles.",
    )


class BatchingConfig(_Part):
    """How texts are gathered into RPCs and into engine batches."""

    max_hop_texts: int = Field(
        64,
        ge=1,
        le=4_096,
        description="Texts that one RPC carries from the ingress; the rest goes with the next.",
    )
    max_hops_in_flight: int = Field(
        0,
        ge=0,
        le=1_024,
        description="RPCs that one ingress keeps in flight; 0 means three for every two model replicas (one runs on each, the next are prepared). A fused replica asks its engines without RPCs.",
    )
    max_batch_texts: int = Field(32, ge=1, le=4_096, description="Rows of one engine batch.")
    max_batch_tokens: int = Field(
        4_096,
        ge=16,
        le=1_048_576,
        description="Rows times padded length of one engine batch; a single longer text runs alone.",
    )
    bulk_ratio: float = Field(
        0.125,
        gt=0,
        le=1,
        description="Bulk texts that are run for each interactive one while both wait; 1 treats both alike.",
    )
    reproducible_scores: bool = Field(
        True,
        description="A text's scores never depend on the texts that it is batched with: models "
        "whose activations are scaled per batch (dynamic INT8 on the CPU; not those of `sentigraph "
        "export` and `import`) run one text at a time. When off, they are batched, and scores move "
        "with the company.",
    )


class AppConfig(_Part):
    """The whole configuration. Built by ``configs.load.load_config``; never by hand in serving code."""

    profile: Profile = Field(
        "local", description="Named set of defaults that this configuration started from."
    )
    topology: Literal["split", "fused"] = Field(
        "split",
        description="`split`: ingress, tokenizer and model are deployments of their own; `fused`: each ingress replica holds a tokenizer and a model, with an engine for each core, sized by `replicas.model`.",
    )
    server: ServerConfig = ServerConfig()
    limits: LimitsConfig = LimitsConfig()
    model: ModelConfig = ModelConfig()
    batching: BatchingConfig = BatchingConfig()
    cache: CacheConfig = CacheConfig()
    replicas: ReplicasConfig = ReplicasConfig()
    autoscaling: AutoscalingConfig = AutoscalingConfig()
    registry: RegistryConfig = RegistryConfig()
    rollout: RolloutConfig = RolloutConfig()
    redis: RedisConfig = RedisConfig()
    breaker: BreakerConfig = BreakerConfig()
    vault: VaultConfig = VaultConfig()
    access: AccessConfig = AccessConfig()
    stream: StreamConfig = StreamConfig()
    prediction_log: PredictionLogConfig = PredictionLogConfig()
    jobs: JobsConfig = JobsConfig()
    drift: DriftConfig = DriftConfig()
    chaos: ChaosConfig = ChaosConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    explanations: ExplanationsConfig = ExplanationsConfig()
    kpis: KpisConfig = KpisConfig()
    tracing: TracingConfig = TracingConfig()

    @property
    def insight(self) -> bool:
        """Whether there is an Insight deployment."""
        parts = (self.drift, self.feedback, self.explanations, self.kpis)
        return any(part.enabled for part in parts)

    @property
    def level_two(self) -> Literal["none", "memory", "redis"]:
        """``cache.l2``, and what ``auto`` means here."""
        if self.cache.l2 != "auto":
            return self.cache.l2
        fused = self.topology == "fused"
        size = self.replicas.model if fused else self.replicas.ingress
        # 0 means one for each core where a replica holds an engine.
        alone = size.num_replicas == 1 or (size.num_replicas == 0 and not fused)
        alone = alone and size.max_replicas <= 1 and not self.stream.enabled
        return "none" if alone else "memory"

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        problems = list(conflicts(self))
        if problems:
            raise ValueError("\n".join(problems))
        return self
