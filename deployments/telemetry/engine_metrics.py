"""The metrics of a process with engines, under the rules of ``metrics.py``."""

from collections.abc import Callable, Mapping
from functools import partial

from prometheus_client import CollectorRegistry

from deployments.telemetry.metric_table import MetricTable, counter, gauge
from deployments.telemetry.ray_export import MakeGauge, RayMetricsExporter


class EngineMetrics(MetricTable):
    """What a replica with engines counts."""

    out_of_memory = counter(
        "sentiment_engine_out_of_memory",
        "Engine batches that did not fit into the card's memory, and were halved.",
    )
    batch_tokens_limit = gauge(
        "sentiment_engine_batch_tokens_limit",
        "Rows times padded length that a batch may have: `batching.max_batch_tokens`, lowered when "
        "the card's memory was not enough; the lowest of the models loaded.",
    )
    gpu_memory_bytes = gauge(
        "sentiment_gpu_memory_bytes",
        "Memory of the card, of this replica's PyTorch engines (allocated, reserved: with what is "
        "kept for later batches, limit: what it may take); no series elsewhere.",
        "kind",
    )

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self._registry = registry

    def watch(self, memory: Callable[[], Mapping[str, int]]) -> None:
        """Reads ``memory`` whenever the metrics are read; of the engines of one process, any."""
        for kind in memory():
            self.gpu_memory_bytes.labels(kind).set_function(partial(_read, memory, kind))

    def mirror(self, make: MakeGauge) -> RayMetricsExporter:
        """See ``Metrics.mirror``."""
        return RayMetricsExporter(self._registry, make)


def _read(memory: Callable[[], Mapping[str, int]], kind: str) -> float:
    return memory()[kind]
