"""What metrics, access lines and traces cost: ``python -m benchmarks.serving.telemetry_cost``.

One private stack; its ingress switches parts of what it tells about itself off and on while it
runs (``observed_app.py``). Each round sends the same number of requests with nothing and with
everything, or with the parts that are asked for; every second round goes the other way round.
Measured: CPU time of the replicas and of HAProxy for one request, and requests a second. Spans of
1 % go over real OTLP to a receiver in this process. What Ray and Serve count themselves stays on.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.harness.output import RESULTS, result, run_facts, say
from benchmarks.harness.stack import private_stack, serve_config
from benchmarks.harness.texts import real_texts
from benchmarks.loadgen.client import send_texts
from benchmarks.serving.observed_app import SWITCH
from benchmarks.serving.stage_cpu import cpu_seconds
from operations.local_stack.processes import MARK
from operations.local_stack.stack import Stack

RESULT = RESULTS / "observability.json"
OFF, ON = "off", "metrics,logs,traces"
_BILLED = ("Ingress", "Tokenizer", "Model", "Cache", "haproxy")
# A remembered text takes so much less time that more are needed for a clock of 10 ms.
_MORE = 8


class Receiver:
    """Counts the spans that arrive."""

    def __init__(self) -> None:
        self.spans = 0

    def export(self, request: ExportTraceServiceRequest, _: grpc.ServicerContext) -> bytes:
        """OTLP's only method; an empty answer takes everything."""
        self.spans += sum(
            len(scope.spans) for part in request.resource_spans for scope in part.scope_spans
        )
        return b""


@contextmanager
def receiving() -> Iterator[tuple[Receiver, str]]:
    """A receiver and its address."""
    receiver = Receiver()
    method: grpc.RpcMethodHandler[ExportTraceServiceRequest, bytes]
    method = grpc.unary_unary_rpc_method_handler(
        receiver.export, request_deserializer=ExportTraceServiceRequest.FromString
    )
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"Export": method}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield receiver, f"http://127.0.0.1:{port}"
    server.stop(None)


class Bench:
    """The load, and the bill of the replicas that answer it."""

    def __init__(self, stack: Stack, concurrency: int) -> None:
        self._stack = stack
        self._concurrency = concurrency

    def send(self, texts: Sequence[str]) -> tuple[float, float]:
        """CPU milliseconds of a request, and requests a second."""
        before = self._cpu_s()
        load = send_texts(self._stack.url, texts, self._concurrency)
        assert load.statuses == {200: len(texts)}, load.statuses
        cpu_ms = (self._cpu_s() - before) * 1_000 / len(texts)
        return cpu_ms, len(texts) / load.seconds

    def switch(self, parts: str) -> None:
        """Leaves these parts on and no others."""
        httpx.post(f"{self._stack.url}{SWITCH}{parts}").raise_for_status()

    def _cpu_s(self) -> float:
        used = cpu_seconds(self._stack.environ[MARK])
        return sum(seconds for name, seconds in used.items() if name in _BILLED)


def measure(
    bench: Bench, workloads: dict[str, list[list[str]]], rounds: int, arms: list[str]
) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """For each workload and arm what each round saw."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for workload, shares in workloads.items():
        parts = iter(shares[1:])  # the first was the warm-up
        found[workload] = {arm: [] for arm in arms}
        for number in range(rounds):
            for arm in arms if number % 2 == 0 else reversed(arms):
                bench.switch(arm)
                found[workload][arm].append(bench.send(next(parts)))
                say(f"{workload} {arm} {found[workload][arm][-1]}")
    return found


def summary(arms: dict[str, list[tuple[float, float]]]) -> dict[str, dict[str, object]]:
    """Medians over the rounds; ratios, with their quartiles, are to ``off`` of the same round."""
    rows: dict[str, dict[str, object]] = {}
    for arm, seen in arms.items():
        cpu = [mine[0] / other[0] for mine, other in zip(seen, arms[OFF], strict=True)]
        rate = [mine[1] / other[1] for mine, other in zip(seen, arms[OFF], strict=True)]
        rows[arm] = {
            "cpu_ms_per_request": round(statistics.median(cpu_ms for cpu_ms, _ in seen), 4),
            "requests_per_s": round(statistics.median(per_s for _, per_s in seen), 1),
            "cpu_ratio": _quartiles(cpu),
            "throughput_ratio": _quartiles(rate),
        }
    return rows


def _quartiles(values: list[float]) -> list[float]:
    return [round(value, 4) for value in statistics.quantiles(values, n=4, method="inclusive")]


def main() -> int:
    """Prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="of all arms, for each workload")
    parser.add_argument(
        "--parts", action="append", default=[], help="further arms: metrics, logs or traces"
    )
    parser.add_argument("--requests", type=int, default=400, help="of each arm in a round")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    arms = [OFF, *args.parts, ON]
    turns = args.rounds * len(arms)
    texts = real_texts(args.requests)
    # Texts that no cache has seen: the round's number is part of each.
    new = [[f"{text} {turn}" for text in texts] for turn in range(turns + 1)]
    workloads = {"new texts": new, "remembered texts": [texts * _MORE] * (turns + 1)}
    facts = run_facts()
    with (
        tempfile.TemporaryDirectory(prefix="sentigraph-bench-") as name,
        receiving() as (receiver, endpoint),
    ):
        folder = Path(name)
        tracing = {"enabled": True, "endpoint": endpoint, "sample_ratio": 0.01}
        switched = "benchmarks.serving.observed_app:build"
        config = serve_config(folder, {"tracing": tracing}, import_path=switched)
        with private_stack(folder, config) as stack:
            bench = Bench(stack, args.concurrency)
            for shares in workloads.values():
                bench.send(shares[0])
            found = measure(bench, workloads, args.rounds, arms)
    facts |= {
        "requests_per_turn": {name: len(shares[0]) for name, shares in workloads.items()},
        "rounds": args.rounds,
        "concurrency": args.concurrency,
        "spans_received": receiver.spans,
        "workloads": {name: summary(seen) for name, seen in found.items()},
    }
    result(args.out, facts)
    return 0 if receiver.spans else 1


if __name__ == "__main__":
    sys.exit(main())
