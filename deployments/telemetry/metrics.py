"""Every metric of the serving graph: name, help, labels, buckets.

Those of Kafka and the prediction log are in ``stream_metrics.py``, of batch jobs in
``job_metrics.py``, of engines in ``engine_metrics.py``, of drift in ``insight_metrics.py``, of
served and registered versions in ``version_metrics.py``.

The ingress sees the whole request (stage times come back with the answer), so the registry of
an ingress replica holds them all, and ``/api/v1/metrics`` is the page of the replica that
answers. Label values are bounded: routes, stages, reasons, labels of the model; never a text,
an id or a raw path.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from deployments.telemetry.engine_metrics import EngineMetrics
from deployments.telemetry.insight_metrics import InsightMetrics
from deployments.telemetry.job_metrics import JobMetrics
from deployments.telemetry.metric_table import Family, MetricTable, counter, gauge, histogram
from deployments.telemetry.ray_export import MakeGauge, RayMetricsExporter
from deployments.telemetry.stream_metrics import PredictionLogMetrics, StreamMetrics
from deployments.telemetry.version_metrics import VersionMetrics

_BREAKER_STATES = {"closed": 0.0, "half_open": 0.5, "open": 1.0}


class Metrics(MetricTable):
    """The families of one replica, in a registry of its own."""

    requests = counter(
        "sentiment_requests", "Requests answered.", "endpoint", "method", "status_code"
    )
    request_seconds = histogram(
        "sentiment_request_duration_seconds",
        "Time from the first byte of a request to its answer.",
        "endpoint",
        "method",
    )
    predict_requests = counter(
        "sentiment_predict_requests",
        "Requests to the predict routes by their way: fast, in the HTTP server's callbacks, or "
        "general, through Ray Serve.",
        "way",
        known=("fast", "general"),
    )
    active_requests = gauge("sentiment_active_requests", "Requests being worked on now.")
    predictions = counter(
        "sentiment_predictions", "Texts answered, by predicted label.", "label", "cached"
    )
    text_chars = histogram(
        "sentiment_text_length_characters",
        "Characters of the texts received.",
        buckets=(10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000),
    )
    score = histogram(
        "sentiment_prediction_score",
        "Probability of the predicted label; values that are none (regression) are left out.",
        buckets=(0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0),
    )
    stage_seconds = histogram(
        "sentiment_stage_duration_seconds",
        "Time of one micro-batch in a stage (queue: of one text in the ingress).",
        "stage",
    )
    inference_seconds = histogram(
        "sentiment_inference_duration_seconds", "Duration of the engine batch that held the text."
    )
    tokens = counter("sentiment_tokens", "Tokens that the model saw, padding excluded.")
    hop_texts = histogram(
        "sentiment_hop_texts",
        "Texts carried by one RPC to the tokenizer.",
        buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    )
    queued_texts = gauge("sentiment_queued_texts", "Texts waiting in this ingress.")
    dropped_texts = counter(
        "sentiment_dropped_texts",
        "Texts dropped before compute.",
        "reason",
        known=("cancelled", "expired", "queue_full", "rate", "too_late"),
    )
    failed_texts = counter(
        "sentiment_failed_texts",
        "Texts that the model has no answer for, while it answers others.",
    )
    cache_lookups = counter(
        "sentiment_cache_lookups",
        "Cache lookups by level and result (hit, miss, shared, skipped, error, breaker).",
        "level",
        "result",
    )
    break_even_ratio = gauge(
        "sentiment_cache_break_even_ratio",
        "Level-two hit ratio at which a lookup just pays; below it most are skipped.",
    )
    predicted_wait_seconds = gauge(
        "sentiment_predicted_wait_seconds",
        "Wait predicted for an interactive text that came now; by it texts are admitted.",
    )
    batch_rows = histogram(
        "sentiment_batch_rows", "Texts in one engine batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128)
    )
    batch_padding_ratio = histogram(
        "sentiment_batch_padding_ratio",
        "Share of an engine batch's cells that is padding.",
        buckets=(0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0),
    )
    cost_error_ratio = histogram(
        "sentiment_cost_surface_error_ratio",
        "Actual over predicted duration of an engine batch; 1 is exact.",
        buckets=(0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0),
    )
    cache_writes = counter(
        "sentiment_cache_writes",
        "Entries for level two by result (stored, error, dropped, breaker).",
        "result",
        known=("stored", "error", "dropped", "breaker"),
    )
    access_refusals = counter(
        "sentiment_access_refusals",
        "Requests refused at the gate (unauthenticated, throttled, role, rate, concurrency).",
        "reason",
        known=("unauthenticated", "throttled", "role", "rate", "concurrency"),
    )
    vault_up = gauge("sentiment_vault_up", "1 while secrets can be read from Vault.")
    vault_reads = counter(
        "sentiment_vault_reads",
        "Times that secrets were read from Vault, by result (ok, error).",
        "result",
    )
    vault_seconds = histogram("sentiment_vault_duration_seconds", "Time to read all secrets once.")
    vault_login_seconds = gauge(
        "sentiment_vault_login_seconds", "Time until the login to Vault ends unless it is renewed."
    )
    vault_lease_seconds = gauge(
        "sentiment_vault_lease_seconds",
        "Time until the Redis credentials of Vault end unless they are renewed.",
    )
    vault_rotations = counter(
        "sentiment_vault_rotations",
        "Secrets that were replaced in Vault and taken over while running.",
        "secret",
    )
    _breaker_open = gauge(
        "sentiment_breaker_open",
        "Of each dependency: 0 in use, 1 left alone, 0.5 while it is tried again.",
        "dependency",
    )
    cache_bytes = gauge("sentiment_cache_bytes", "Memory of this ingress's level one.")
    injected_faults = counter(
        "sentiment_injected_faults",
        "Faults of predictions that an admin asked for; 0 where chaos is off.",
        "type",
        known=("latency", "error"),
    )
    retries = counter(
        "sentiment_hop_retries",
        "Micro-batches sent again because a replica was lost, or its answer is late.",
    )
    stage_messages = counter(
        "sentiment_stage_messages",
        "Messages to tokenizers and models (stage: tokenize, score), by the road that they took: a "
        "socket, or Ray's handle where none could be opened.",
        "stage",
        "road",
    )
    shadow_predictions = counter(
        "sentiment_shadow_predictions",
        "Texts that the shadow version was asked, by result (compared, failed, skipped).",
        "result",
        known=("compared", "failed", "skipped"),
    )
    shadow_matches = counter(
        "sentiment_shadow_prediction_matches",
        "Texts to which the shadow version gave the same label.",
    )
    shadow_mismatches = counter(
        "sentiment_shadow_prediction_mismatches",
        "Texts to which the shadow version gave another label.",
    )
    shadow_seconds = histogram(
        "sentiment_shadow_prediction_duration_seconds",
        "Time until the shadow version had answered a request's texts.",
    )
    feedback = counter(
        "sentiment_feedback",
        "Answers that a person judged, by result (correct, wrong).",
        "result",
        known=("correct", "wrong"),
    )
    model_loaded = gauge("sentiment_model_loaded", "1 while a model version is live.")
    spans = counter(
        "sentiment_trace_spans",
        "Spans by what became of them (exported, dropped: too many waited, failed).",
        "result",
        known=("exported", "dropped", "failed"),
    )

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        super().__init__(self._registry)
        self.versions = VersionMetrics(self._registry)
        self.engines = EngineMetrics(self._registry)
        self.jobs = JobMetrics(self._registry)
        self.insight = InsightMetrics(self._registry)
        self.stream = StreamMetrics(self._registry)
        self.prediction_log = PredictionLogMetrics(self._registry)
        self._page = (0.0, b"")
        # Children that every request asks for.
        self._requests: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.l1_hits = self.cache_lookups.labels("l1", "hit")
        self.l1_misses = self.cache_lookups.labels("l1", "miss")
        self.l1_shared = self.cache_lookups.labels("l1", "shared")
        self.queue_seconds = self.stage_seconds.labels("queue")
        # Without Vault it is neither up nor down: that must not look like an outage.
        self.vault_up.set(math.nan)

    def observe_batches(self, batches: npt.NDArray[np.float32]) -> None:
        """Counts engine batches; rows as in ``ScoreBatch.batches``."""
        for rows, tokens, cells, predicted_s, actual_s in batches.tolist():
            self.batch_rows.observe(rows)
            self.batch_padding_ratio.observe(1 - tokens / cells)
            self.cost_error_ratio.observe(actual_s / predicted_s)

    def count_request(self, endpoint: str, method: str, status: int, elapsed_s: float) -> None:
        """One answered request."""
        key = (endpoint, method, status)
        children = self._requests.get(key)
        if children is None:
            children = self._requests[key] = (
                self.requests.labels(endpoint, method, str(status)),
                self.request_seconds.labels(endpoint, method),
            )
        children[0].inc()
        children[1].observe(elapsed_s)

    def breaker(self, dependency: str) -> Callable[[str], None]:
        """A function that sets the state of one dependency's circuit breaker."""
        shown = self._breaker_open.labels(dependency)
        return lambda state: shown.set(_BREAKER_STATES[state])

    def totals(self) -> dict[str, float]:
        """Sum over all labels, by sample name; 0 for a family without a sample."""
        found: dict[str, float] = defaultdict(float)
        for family in self._registry.collect():
            for sample in family.samples:
                found[sample.name] += sample.value
        return found

    def mirror(self, make: MakeGauge) -> RayMetricsExporter:
        """An exporter of all families to gauges that ``make`` makes."""
        return RayMetricsExporter(self._registry, make)

    def page(self, life_s: float = 0.0) -> bytes:
        """The Prometheus text page; one made within the last ``life_s`` is returned again."""
        now = time.monotonic()
        made_s, page = self._page
        if not page or now - made_s >= life_s:
            page = generate_latest(self._registry)
            self._page = (now, page)
        return page


def families() -> Iterator[Family]:
    """Every declared family of the graph."""
    tables = (EngineMetrics, JobMetrics, InsightMetrics, StreamMetrics, PredictionLogMetrics)
    for table in (Metrics, VersionMetrics, *tables):
        yield from table.declared.values()
