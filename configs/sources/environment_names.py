"""The specification's environment names: which setting each one sets, and how it is read.

Every setting also has a systematic name (``fields.Setting.variable``), which needs no
row here. ``variables.py`` reads the environment with this table; the reference document
prints it; a test sets every row and watches the setting change.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import SecretStr, TypeAdapter, ValidationError

from configs.sources.monitoring_names import WATCHING as _WATCHING

PROFILE_ALIASES = {"dev": "development", "prod": "production"}
# What the first level counts for a prediction of a few labels, its bookkeeping included.
_ENTRY_BYTES = 300
_BOOL: TypeAdapter[bool] = TypeAdapter(bool)

Reader = Callable[[str], tuple[object, ...] | None]


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment name of the specification.

    Attributes:
        name: As the user writes it.
        fields: Dotted settings that it sets.
        example: A value that differs from the default of each of them.
        read: One value for each field, or None to leave them alone; raises ValueError with
            the rest of the sentence "NAME=VALUE …". None: the text as it is, for one field.
        raises: A setting that is lifted to the first value where it would be below it.
        note: What is not obvious from the setting.
    """

    name: str
    fields: tuple[str, ...]
    example: str
    read: Reader | None = None
    raises: str | None = None
    note: str = ""


def is_true(text: str) -> bool:
    """``true/1/yes/on`` or ``false/0/no/off`` in any case.

    Raises:
        ValueError: It is neither.
    """
    try:
        return _BOOL.validate_python(text.strip())
    except ValidationError as error:
        raise ValueError("must be true or false") from error


def profile_name(text: str) -> str:
    """The profile's full name; other text comes back as it is, for the schema to refuse."""
    name = text.strip().lower()
    return PROFILE_ALIASES.get(name, name)


def _profile(text: str) -> tuple[object, ...]:
    return (profile_name(text),)


def _when(wanted: bool, *values: object) -> Reader:
    return lambda text: values if is_true(text) is wanted else None


def _milliseconds(text: str) -> tuple[object, ...]:
    try:
        return (round(float(text) * 1_000),)
    except (ValueError, OverflowError) as error:
        raise ValueError("must be a number of seconds") from error


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ValueError("must be a whole number") from error


def _registered_name(text: str) -> tuple[object, ...]:
    if "/" in text:
        raise ValueError(
            "is a Hugging Face name, and a registered model name holds no '/': bring that model "
            "in once (`sentigraph import`, then `sentigraph register`) under a name such as "
            f"{text.rsplit('/', 1)[-1] or 'sentiment'!r} and set this variable to that name"
        )
    return (text,)


def _collector(text: str) -> tuple[object, ...]:
    return (text if "://" in text else f"http://{text}",)


VARIABLES: tuple[Variable, ...] = (
    *(
        Variable(name, ("profile",), "dev", _profile, note="`dev` and `prod` are accepted too")
        for name in ("PROFILE", "MLOPS_PROFILE", "MLOPS_ENVIRONMENT")
    ),
    Variable("MLOPS_APP_NAME", ("server.app_name",), "reviews"),
    Variable("MLOPS_LOG_LEVEL", ("server.log_level",), "warning"),
    Variable(
        "MLOPS_DEBUG",
        ("server.log_level",),
        "true",
        _when(True, "DEBUG"),
        note="true means DEBUG; false changes nothing",
    ),
    Variable("MLOPS_ALLOWED_ORIGINS", ("server.cors_origins",), "https://shop.example"),
    Variable(
        "MLOPS_API_KEY",
        ("access.api_key", "access.required"),
        "an-Api-key-1",
        lambda text: (SecretStr(text), True),
        note="also makes a key necessary",
    ),
    Variable("MLOPS_WORKERS", ("replicas.ingress.num_replicas",), "3"),
    Variable("MLOPS_SERVER_WORKERS", ("replicas.ingress.num_replicas",), "3"),
    Variable("MLOPS_MAX_CONCURRENT_REQUESTS", ("replicas.ingress.max_ongoing_requests",), "512"),
    Variable("MLOPS_REQUEST_QUEUE_SIZE", ("limits.max_queued_texts",), "4096"),
    Variable("MLOPS_MAX_TEXT_LENGTH", ("limits.max_text_chars",), "512", note="characters"),
    Variable("MLOPS_ASYNC_BATCH_MAX_BATCH_SIZE", ("limits.max_batch_texts",), "500"),
    Variable("MLOPS_ASYNC_BATCH_ENABLED", ("jobs.enabled",), "true"),
    Variable("MLOPS_ASYNC_BATCH_MAX_JOBS", ("jobs.max_jobs",), "50"),
    Variable("MLOPS_ASYNC_BATCH_PRIORITY_HIGH_LIMIT", ("jobs.max_high",), "50"),
    Variable("MLOPS_ASYNC_BATCH_PRIORITY_MEDIUM_LIMIT", ("jobs.max_medium",), "50"),
    Variable("MLOPS_ASYNC_BATCH_PRIORITY_LOW_LIMIT", ("jobs.max_low",), "50"),
    Variable("MLOPS_ASYNC_BATCH_DEFAULT_TIMEOUT_SECONDS", ("jobs.default_timeout_s",), "600"),
    Variable("MLOPS_ASYNC_BATCH_CLEANUP_INTERVAL_SECONDS", ("jobs.cleanup_interval_s",), "30"),
    Variable("MLOPS_ASYNC_BATCH_CACHE_TTL_SECONDS", ("jobs.result_ttl_s",), "600"),
    Variable("MLOPS_ASYNC_BATCH_RESULT_CACHE_MAX_SIZE", ("jobs.max_ended",), "100", note="jobs"),
    Variable(
        "MLOPS_MAX_REQUEST_TIMEOUT",
        ("limits.default_deadline_ms",),
        "120",
        _milliseconds,
        raises="limits.max_deadline_ms",
        note="seconds; lifts `limits.max_deadline_ms` where that is lower",
    ),
    *(
        Variable(
            name,
            ("model.name",),
            "reviews",
            _registered_name,
            note="the registered name; a Hugging Face name with `/` is refused",
        )
        for name in ("MLOPS_MODEL_NAME", "MLOPS_MLFLOW_MODEL_NAME")
    ),
    Variable("MLOPS_ALLOWED_MODELS", ("model.allowed_names",), "sentiment,reviews"),
    Variable(
        "MLOPS_METRICS_CACHE_TTL",
        ("server.metrics_cache_ms",),
        "5",
        _milliseconds,
        note="seconds",
    ),
    Variable("MLOPS_ENABLE_METRICS", ("server.metrics_enabled",), "false"),
    Variable("MLOPS_ENABLE_TRACING", ("tracing.enabled",), "true"),
    Variable("MLOPS_SERVICE_NAME", ("server.service_name",), "reviews"),
    Variable(
        "MLOPS_OTLP_ENDPOINT",
        ("tracing.endpoint",),
        "collector:4317",
        _collector,
        note="without a scheme it is plain HTTP/2",
    ),
    Variable("MLOPS_TRACING_EXCLUDED_URLS", ("tracing.excluded_paths",), "/health,/metrics"),
    Variable("MLOPS_ONNX_INTRA_OP_NUM_THREADS", ("model.intra_op_threads",), "2"),
    Variable(
        "MLOPS_WARMUP_ENABLED",
        ("model.warmup_runs",),
        "false",
        _when(False, 0),
        note="false means 0; true changes nothing",
    ),
    Variable("MLOPS_WARMUP_ITERATIONS", ("model.warmup_runs",), "10"),
    Variable("GPU_MAX_BATCH_SIZE", ("batching.max_batch_texts",), "128"),
    Variable("MLOPS_GPU_MAX_BATCH_SIZE", ("batching.max_batch_texts",), "128"),
    Variable(
        "MLOPS_PREDICTION_CACHE_ENABLED",
        ("cache.l1_max_bytes", "cache.l2"),
        "false",
        _when(False, 0, "none"),
        note="false turns both levels off; true changes nothing",
    ),
    Variable(
        "MLOPS_PREDICTION_CACHE_MAX_SIZE",
        ("cache.l1_max_bytes",),
        "5000",
        lambda text: (_whole(text) * _ENTRY_BYTES,),
        note=f"entries, of {_ENTRY_BYTES} bytes each",
    ),
    Variable(
        "MLOPS_REDIS_ENABLED",
        ("cache.l2",),
        "true",
        _when(True, "redis"),
        note="true means Redis; false changes nothing",
    ),
    Variable("MLOPS_REDIS_HOST", ("redis.host",), "redis.internal"),
    Variable("MLOPS_REDIS_PORT", ("redis.port",), "6380"),
    Variable("MLOPS_REDIS_DB", ("redis.db",), "3"),
    Variable("MLOPS_REDIS_PASSWORD", ("redis.password",), "hunter2"),
    Variable("MLOPS_REDIS_MAX_CONNECTIONS", ("redis.max_connections",), "100"),
    Variable(
        "MLOPS_REDIS_SOCKET_TIMEOUT", ("redis.timeout_ms",), "5", _milliseconds, note="seconds"
    ),
    Variable(
        "MLOPS_REDIS_SOCKET_CONNECT_TIMEOUT",
        ("redis.connect_timeout_ms",),
        "5",
        _milliseconds,
        note="seconds",
    ),
    Variable("MLOPS_REDIS_NAMESPACE", ("redis.namespace",), "reviews"),
    Variable("MLOPS_REDIS_PREDICTION_CACHE_TTL", ("cache.ttl_s",), "7200"),
    Variable("MLOPS_VAULT_ENABLED", ("vault.enabled",), "true"),
    Variable("MLOPS_VAULT_ADDR", ("vault.address",), "https://vault:8200"),
    Variable("MLOPS_VAULT_NAMESPACE", ("vault.namespace",), "mlops"),
    Variable(
        "MLOPS_VAULT_ROLE",
        ("vault.role", "vault.auth"),
        "sentigraph",
        lambda text: (text, "kubernetes"),
        note="also chooses the login by service account",
    ),
    Variable("MLOPS_VAULT_MOUNT_POINT", ("vault.mount_point",), "kv"),
    Variable("MLOPS_VAULT_SECRETS_PATH", ("vault.secrets_path",), "reviews"),
    Variable("MLOPS_VAULT_TOKEN", ("vault.token",), "s.abcdef"),
    Variable("CIRCUIT_BREAKER_FAILURE_THRESHOLD", ("breaker.failure_threshold",), "3"),
    Variable(
        "CIRCUIT_BREAKER_RECOVERY_TIMEOUT",
        ("breaker.recovery_ms",),
        "60",
        _milliseconds,
        note="seconds",
    ),
    *(
        Variable(f"MLOPS_KAFKA_{name}", (f"stream.{field}",), example)
        for name, field, example in (
            ("ENABLED", "enabled", "true"),
            ("BOOTSTRAP_SERVERS", "bootstrap_servers", "kafka-0:9092,kafka-1:9092"),
            ("CONSUMER_GROUP", "group", "reviews"),
            ("TOPIC", "requests_topic", "reviews"),
            ("DLQ_TOPIC", "dlq_topic", "reviews_dlq"),
            ("FEEDBACK_TOPIC", "feedback_topic", "reviews_feedback"),
            ("AUTO_OFFSET_RESET", "start_at", "latest"),
            ("PARTITION_ASSIGNMENT_STRATEGY", "assignment", "roundrobin"),
            ("BATCH_SIZE", "max_poll_records", "100"),
            ("BUFFER_SIZE", "max_in_flight", "2000"),
            ("SESSION_TIMEOUT_MS", "session_timeout_ms", "45000"),
            ("HEARTBEAT_INTERVAL_MS", "heartbeat_interval_ms", "5000"),
            ("MAX_POLL_INTERVAL_MS", "max_poll_interval_ms", "600000"),
            ("PROCESSING_TIMEOUT_MS", "processing_timeout_ms", "20000"),
            ("MAX_RETRIES", "max_attempts", "5"),
            ("PRODUCER_LINGER_MS", "linger_ms", "10"),
            ("PRODUCER_COMPRESSION_TYPE", "compression", "gzip"),
        )
    ),
    Variable(
        "MLOPS_KAFKA_PRODUCER_TIMEOUT_SECONDS",
        ("stream.delivery_timeout_ms",),
        "20",
        _milliseconds,
        note="seconds",
    ),
    Variable(
        "MLOPS_KAFKA_CONSUMER_THREADS",
        ("replicas.stream.num_replicas",),
        "4",
        note="one consumer in each replica",
    ),
    *(
        Variable(f"MLOPS_{name}", (setting,), example)
        for name, setting, example in (
            ("DATA_LAKE_ENABLED", "prediction_log.enabled", "true"),
            ("DATA_LAKE_BATCH_SIZE", "prediction_log.rows_per_file", "1000"),
            ("DATA_LAKE_BATCH_TIMEOUT_SECONDS", "prediction_log.flush_s", "60"),
            ("DATA_LAKE_COMPRESSION", "prediction_log.compression", "gzip"),
            ("DATA_LAKE_PARTITION_BY", "prediction_log.partition_by", "hour"),
            *_WATCHING,
            ("MLFLOW_TRACKING_URI", "registry.tracking_uri", "postgresql://mlflow@db/mlflow"),
        )
    ),
    Variable(
        "MLOPS_MLFLOW_REGISTRY_URI",
        ("registry.tracking_uri",),
        "postgresql://mlflow@db/mlflow",
        note="tracking and registry are one store",
    ),
    Variable("MLOPS_MODEL_CACHE_DIR", ("registry.bundle_cache_dir",), "/var/cache/bundles"),
)
