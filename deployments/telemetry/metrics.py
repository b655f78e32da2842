"""Every metric of the serving graph: name, help, labels, buckets. Nowhere else, but
``stream_metrics.py`` for Kafka and the prediction log, ``job_metrics.py`` for batch jobs and
``version_metrics.py`` for served and registered versions.

The ingress sees the whole request (stage times travel back with the answer), so one
registry in each ingress replica holds them all and ``/api/v1/metrics`` shows the page of
the replica that answers. Label values are bounded: routes, stages, reasons, labels of the
model; never a text, an id or a raw path.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric

from deployments.telemetry.job_metrics import JobMetrics
from deployments.telemetry.ray_export import MakeGauge, RayMetricsExporter
from deployments.telemetry.stream_metrics import PredictionLogMetrics, StreamMetrics, span_counter
from deployments.telemetry.version_metrics import VersionMetrics

_BREAKER_STATES = {"closed": 0.0, "half_open": 0.5, "open": 1.0}
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The metric families, as attributes."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._page = (0.0, b"")
        self._requests: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.requests = Counter(
            "sentiment_requests",
            "Requests answered.",
            ["endpoint", "method", "status_code"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "sentiment_request_duration_seconds",
            "Time from the first byte of a request to its answer.",
            ["endpoint", "method"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.active_requests = Gauge(
            "sentiment_active_requests", "Requests being worked on now.", registry=registry
        )
        self.predictions = Counter(
            "sentiment_predictions",
            "Texts answered, by predicted label.",
            ["label", "cached"],
            registry=registry,
        )
        self.text_chars = Histogram(
            "sentiment_text_length_characters",
            "Characters of the texts received.",
            buckets=(10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000),
            registry=registry,
        )
        self.score = Histogram(
            "sentiment_prediction_score",
            "Probability of the predicted label.",
            buckets=(0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0),
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "sentiment_stage_duration_seconds",
            "Time of one micro-batch in a stage (queue: of one text in the ingress).",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.inference_seconds = Histogram(
            "sentiment_inference_duration_seconds",
            "Duration of the engine batch that held the text.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.tokens = Counter(
            "sentiment_tokens", "Tokens that the model saw, padding excluded.", registry=registry
        )
        self.hop_texts = Histogram(
            "sentiment_hop_texts",
            "Texts carried by one RPC to the tokenizer.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=registry,
        )
        self.queued_texts = Gauge(
            "sentiment_queued_texts", "Texts waiting in this ingress.", registry=registry
        )
        self.dropped_texts = Counter(
            "sentiment_dropped_texts",
            "Texts dropped before compute.",
            ["reason"],
            registry=registry,
        )
        self.cache_lookups = Counter(
            "sentiment_cache_lookups",
            "Cache lookups by level and result (hit, miss, shared, skipped, error, breaker).",
            ["level", "result"],
            registry=registry,
        )
        self.l1_hits = self.cache_lookups.labels("l1", "hit")
        self.l1_misses = self.cache_lookups.labels("l1", "miss")
        self.l1_shared = self.cache_lookups.labels("l1", "shared")
        self.queue_seconds = self.stage_seconds.labels("queue")
        self.break_even_ratio = Gauge(
            "sentiment_cache_break_even_ratio",
            "Level-two hit ratio at which a lookup just pays; below it most are skipped.",
            registry=registry,
        )
        self.predicted_wait_seconds = Gauge(
            "sentiment_predicted_wait_seconds",
            "Wait predicted for the latest text, by which it was admitted or refused.",
            registry=registry,
        )
        self.batch_rows = Histogram(
            "sentiment_batch_rows",
            "Texts in one engine batch.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=registry,
        )
        self.batch_padding_ratio = Histogram(
            "sentiment_batch_padding_ratio",
            "Share of an engine batch's cells that is padding.",
            buckets=(0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0),
            registry=registry,
        )
        self.cost_error_ratio = Histogram(
            "sentiment_cost_surface_error_ratio",
            "Actual over predicted duration of an engine batch; 1 is exact.",
            buckets=(0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0),
            registry=registry,
        )
        self.cache_writes = Counter(
            "sentiment_cache_writes",
            "Entries for level two by result (stored, error, dropped, breaker).",
            ["result"],
            registry=registry,
        )
        self.access_refusals = Counter(
            "sentiment_access_refusals",
            "Requests refused at the gate (unauthenticated, throttled, role, rate, concurrency).",
            ["reason"],
            registry=registry,
        )
        self.vault_up = Gauge(
            "sentiment_vault_up", "1 while secrets can be read from Vault.", registry=registry
        )
        # Neither up nor down where nobody asks: no Vault must not look like an outage.
        self.vault_up.set(math.nan)
        self.vault_reads = Counter(
            "sentiment_vault_reads",
            "Times that secrets were read from Vault, by result (ok, error).",
            ["result"],
            registry=registry,
        )
        self.vault_seconds = Histogram(
            "sentiment_vault_duration_seconds",
            "Time to read all secrets once.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.vault_login_seconds = Gauge(
            "sentiment_vault_login_seconds",
            "Time until the login to Vault ends unless it is renewed.",
            registry=registry,
        )
        self.vault_lease_seconds = Gauge(
            "sentiment_vault_lease_seconds",
            "Time until the Redis credentials of Vault end unless they are renewed.",
            registry=registry,
        )
        self.vault_rotations = Counter(
            "sentiment_vault_rotations",
            "Secrets that were replaced in Vault and taken over while running.",
            ["secret"],
            registry=registry,
        )
        self._breaker_open = Gauge(
            "sentiment_breaker_open",
            "Of each dependency: 0 in use, 1 left alone, 0.5 while it is tried again.",
            ["dependency"],
            registry=registry,
        )
        self.cache_bytes = Gauge(
            "sentiment_cache_bytes", "Memory of this ingress's level one.", registry=registry
        )
        self.retries = Counter(
            "sentiment_hop_retries",
            "Micro-batches sent again because a replica was lost.",
            registry=registry,
        )
        self.shadow_predictions = Counter(
            "sentiment_shadow_predictions",
            "Texts that the shadow version was asked, by result (compared, failed, skipped).",
            ["result"],
            registry=registry,
        )
        self.shadow_matches = Counter(
            "sentiment_shadow_prediction_matches",
            "Texts to which the shadow version gave the same label.",
            registry=registry,
        )
        self.shadow_mismatches = Counter(
            "sentiment_shadow_prediction_mismatches",
            "Texts to which the shadow version gave another label.",
            registry=registry,
        )
        self.shadow_seconds = Histogram(
            "sentiment_shadow_prediction_duration_seconds",
            "Time until the shadow version had answered a request's texts.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.feedback = Counter(
            "sentiment_feedback",
            "Answers that a person judged, by result (correct, wrong).",
            ["result"],
            registry=registry,
        )
        self.model_loaded = Gauge(
            "sentiment_model_loaded",
            "1 while a model version is live.",
            registry=registry,
        )
        self.versions = VersionMetrics(registry)
        self.jobs = JobMetrics(registry)
        self.stream = StreamMetrics(registry)
        self.prediction_log = PredictionLogMetrics(registry)
        self.spans = span_counter(registry)
        # A counter that is born with its first event has not risen by it: no rate would show it.
        for counter, known in (
            (self.dropped_texts, ("cancelled", "expired", "queue_full", "too_late")),
            (self.cache_writes, ("stored", "error", "dropped", "breaker")),
            (self.access_refusals, ("unauthenticated", "throttled", "role", "rate", "concurrency")),
            (self.shadow_predictions, ("compared", "failed", "skipped")),
            (self.feedback, ("correct", "wrong")),
            (self.jobs.texts, ("answered", "failed", "discarded")),
            (self.jobs.webhooks, ("delivered", "failed", "given_up")),
        ):
            for value in known:
                counter.labels(value)

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
        """What a breaker tells its state to."""
        gauge = self._breaker_open.labels(dependency)
        return lambda state: gauge.set(_BREAKER_STATES[state])

    def families(self) -> list[Metric]:
        """What is declared, with the values of now."""
        return list(self._registry.collect())

    def totals(self) -> dict[str, float]:
        """Sum over all labels, by sample name."""
        # A labelled family without a child has no sample yet.
        found: dict[str, float] = defaultdict(float)
        for family in self._registry.collect():
            for sample in family.samples:
                found[sample.name] += sample.value
        return found

    def mirror(self, make: MakeGauge) -> RayMetricsExporter:
        """What copies all of it to gauges that ``make`` makes."""
        return RayMetricsExporter(self._registry, make)

    def page(self, life_s: float = 0.0) -> bytes:
        """The Prometheus text page; one that is not older than ``life_s`` is shown again."""
        now = time.monotonic()
        made_s, page = self._page
        if not page or now - made_s >= life_s:
            page = generate_latest(self._registry)
            self._page = (now, page)
        return page
