"""The specification's environment names that this release knows and does not act on.

Kept so that nobody's setting is dropped without a word: ``variables.py`` refuses a switch
that asks for an absent subsystem and names the rest in one warning. A name moves to
``environment.py`` with the subsystem that reads it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Absent:
    """Names of the specification that this release knows and does not act on.

    Attributes:
        subsystem: What they belong to, and where to turn instead.
        names: The names. A switch among them (``…_ENABLED``, ``ENABLE_…``) that is true is
            refused, for someone counts on what is not there; the others are warned about.
        always_on: Switches of what is always there: true is fine, false has no effect.
    """

    subsystem: str
    names: tuple[str, ...]
    always_on: tuple[str, ...] = ()

    @property
    def all_names(self) -> tuple[str, ...]:
        """``names`` and ``always_on``."""
        return self.names + self.always_on

    def is_switch(self, name: str) -> bool:
        """Whether a name turns a whole subsystem on."""
        return (
            name in self.always_on
            or name.removeprefix("MLOPS_").startswith(("ENABLE_", "DATA_LAKE_ENABLE_"))
            or name.endswith("_ENABLED")
        )


def _names(prefix: str, suffixes: str) -> tuple[str, ...]:
    return tuple(prefix + suffix for suffix in suffixes.split())


ABSENT: tuple[Absent, ...] = (
    Absent(
        "server address: set `http_options` in serve_config.yaml",
        _names("MLOPS_", "HOST PORT SERVER_HOST SERVER_PORT"),
    ),
    Absent("version: it is the installed package's", ("MLOPS_APP_VERSION",)),
    Absent(
        "model files: a registered bundle says its engine and its files",
        _names(
            "MLOPS_",
            "MODEL_BACKEND ONNX_MODEL_PATH ONNX_MODEL_PATH_DEFAULT "
            "ONNX_INTER_OP_NUM_THREADS ONNX_EXECUTION_MODE USE_MODEL_PERSISTENCE",
        ),
    ),
    Absent("feature engineering", ("MLOPS_ENABLE_FEATURE_ENGINEERING",)),
    Absent(
        "anomaly buffer",
        _names("MLOPS_ANOMALY_BUFFER_", "ENABLED MAX_SIZE DEFAULT_TTL CLEANUP_INTERVAL"),
    ),
    Absent(
        "Kafka tuning: one poll is one micro-batch (`MLOPS_STREAM__MAX_POLL_RECORDS`), offsets are "
        "committed after the results, all brokers acknowledge, one cluster for both ways",
        _names(
            "MLOPS_KAFKA_",
            "MAX_POLL_RECORDS ENABLE_AUTO_COMMIT AUTO_COMMIT_INTERVAL_MS "
            "PRODUCER_BOOTSTRAP_SERVERS PRODUCER_ACKS PRODUCER_RETRIES PRODUCER_BATCH_SIZE "
            "PRODUCER_INIT_RETRIES",
        ),
        always_on=("MLOPS_KAFKA_DLQ_ENABLED",),
    ),
    Absent("feature cache", ("MLOPS_REDIS_FEATURE_CACHE_TTL",)),
    Absent(
        "place of the data lake: set `MLOPS_PREDICTION_LOG__URI`, such as `s3://bucket/prefix`; "
        "credentials are the provider's own variables, and any engine reads Parquet",
        _names(
            "MLOPS_DATA_LAKE_",
            "PROVIDER BUCKET PREFIX S3_REGION S3_ENDPOINT_URL GCS_PROJECT GCS_CREDENTIALS_PATH "
            "AZURE_ACCOUNT_NAME AZURE_ACCOUNT_KEY AZURE_CONNECTION_STRING ENABLE_ATHENA "
            "ENABLE_BIGQUERY ENABLE_SYNAPSE",
        ),
    ),
    Absent(
        "trace backends: spans leave as OTLP, which Jaeger and every collector take; set "
        "`MLOPS_OTLP_ENDPOINT`",
        _names("MLOPS_", "TRACING_BACKEND JAEGER_AGENT_HOST JAEGER_AGENT_PORT ZIPKIN_ENDPOINT"),
    ),
    Absent(
        "MLflow's experiment: the registry finds its runs by the one name that it gave them",
        ("MLOPS_MLFLOW_EXPERIMENT_NAME",),
        always_on=("MLOPS_MLFLOW_ENABLED",),
    ),
    Absent(
        "shadow traffic: give a version the alias `shadow` (`sentigraph models shadow`)",
        _names(
            "MLOPS_SHADOW_",
            "MODE_ENABLED MODEL_NAME MODEL_BACKEND TRAFFIC_PERCENTAGE ASYNC_DISPATCH "
            "LOG_COMPARISONS",
        ),
    ),
    Absent(
        "GPU tuning: set `MLOPS_REPLICAS__MODEL__NUM_GPUS`; batches are planned by measured cost",
        tuple(
            prefix + name
            for prefix in ("", "MLOPS_")
            for name in (
                "ENABLE_GPU_OPTIMIZATION",
                "GPU_COUNT",
                "GPU_BATCH_SIZE",
                "MULTI_GPU_ENABLED",
                "GPU_MEMORY_FRACTION",
                "GPU_LOAD_BALANCING_STRATEGY",
            )
        ),
        always_on=("GPU_DYNAMIC_BATCHING", "MLOPS_GPU_DYNAMIC_BATCHING"),
    ),
)
