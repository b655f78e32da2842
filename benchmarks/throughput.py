"""Served throughput beside the bare engine's, in one run: ``make bench``.

The bare engine is the fair ceiling: one process per core, one thread each, the same
bundle, tokenizer and planner, windows of 64 texts, no server. The server itself runs INT8
one by one on a CPU (docs/decisions/0006), so that pace is shown too. The bare engine runs
before, between and after the served parts, and ratios are taken to its mean, so that a
machine that slows down in between flatters neither side. Real texts (ICWSM-14), each
once, so no cache helps.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import orjson

from benchmarks.http_client import Load, send_all
from benchmarks.texts import CACHE, ROOT, real_texts
from configs.cores import available_cores, share_cores
from configs.schema import BatchingConfig, ModelConfig
from deployments.engines import open_engine
from deployments.loaded import LoadedModel, with_surface
from deployments.tokenizer import Tokenizer
from pipelines.local.stack import Stack, StackSettings
from registry.bundle import open_bundle

WINDOW_TEXTS = 64


def bare_engine(
    bundle_dir: Path, texts: list[str], replicas: int, threads: int, max_texts: int
) -> float:
    """Texts per second of ``replicas`` processes that share ``texts`` evenly."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(replicas + 1)
    workers = [
        context.Process(
            target=_bare_worker,
            args=(bundle_dir, texts[i::replicas], threads, max_texts, barrier),
        )
        for i in range(replicas)
    ]
    for worker in workers:
        worker.start()
    barrier.wait()
    started = time.perf_counter()
    barrier.wait()
    seconds = time.perf_counter() - started
    for worker in workers:
        worker.join()
    return len(texts) / seconds


def _bare_worker(
    bundle_dir: Path, texts: list[str], threads: int, max_texts: int, barrier: object
) -> None:
    bundle = open_bundle(bundle_dir)
    model = LoadedModel(bundle, open_engine(bundle, provider="cpu", threads=threads))
    tokenizer = Tokenizer(bundle)
    model.score([tokenizer.encode([texts[0]]).ids])
    batching = BatchingConfig(max_batch_texts=max_texts, reproducible_scores=False)
    with tempfile.TemporaryDirectory() as folder:
        planned = with_surface(model, batching, ModelConfig(), folder=Path(folder), threads=threads)
    barrier.wait()  # type: ignore[attr-defined]
    for start in range(0, len(texts), WINDOW_TEXTS):
        encoded = tokenizer.encode(texts[start : start + WINDOW_TEXTS])
        rows = np.split(encoded.ids, np.cumsum(encoded.lengths)[:-1])
        for batch in planned.plan(encoded.lengths.tolist()):
            model.score([rows[i] for i in batch.indices])
    barrier.wait()  # type: ignore[attr-defined]


def served(topology: str, texts: list[str], warm_up: list[str], concurrency: int) -> Load:
    """One closed-loop run against a private stack; its start-up is not measured."""
    with tempfile.TemporaryDirectory(prefix="sentigraph-bench-") as folder:
        settings = StackSettings(
            environ={**os.environ, "MLOPS_TOPOLOGY": topology},
            state_dir=Path(folder),
            port=0,
            mlflow_port=0,
            dashboard_port=0,
        )
        with Stack(settings, on_step=lambda step: print(f"  {step}", file=sys.stderr)) as stack:
            address = urlsplit(stack.url)
            host, port = str(address.hostname), int(address.port or 0)

            def send(batch: list[str]) -> Load:
                bodies = [orjson.dumps({"text": text}) for text in batch]
                return asyncio.run(send_all(host, port, "/api/v1/predict", bodies, concurrency))

            send(warm_up)
            return send(texts)


def summary(load: Load) -> dict[str, object]:
    """Requests per second, percentiles in milliseconds, statuses."""
    percentiles = statistics.quantiles(load.latencies_s, n=100)
    return {
        "requests_per_s": round(len(load.latencies_s) / load.seconds, 1),
        "p50_ms": round(percentiles[49] * 1_000, 1),
        "p99_ms": round(percentiles[98] * 1_000, 1),
        "statuses": {str(status): count for status, count in load.statuses.items()},
    }


def main() -> int:
    """Runs the comparison, prints a table, writes the result file; 1 if any request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "sentiment")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    args = parser.parse_args()

    chosen = real_texts(args.requests + 300, args.cache)
    warm_up, measured = chosen[:300], chosen[300:]
    replicas, threads = share_cores(available_cores(), 0)

    def bare_pace(max_texts: int) -> float:
        pace = bare_engine(args.bundle, measured, replicas, threads, max_texts)
        print(f"bare engine, at most {max_texts} in a batch: {pace:.0f} texts/s", file=sys.stderr)
        return pace

    planned = BatchingConfig().max_batch_texts
    bare, alone = [bare_pace(planned)], [bare_pace(1)]
    loads = {}
    for topology in ("split", "fused"):
        loads[topology] = served(topology, measured, warm_up, args.concurrency)
        print(f"{topology}: {summary(loads[topology])}", file=sys.stderr)
        bare.append(bare_pace(planned))
        alone.append(bare_pace(1))

    ceiling = statistics.mean(bare)
    result: dict[str, object] = {
        "command": "make bench",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": _processor(), "cores": available_cores()},
        "python": platform.python_version(),
        "requests": len(measured),
        "concurrency": args.concurrency,
        "model_digest": open_bundle(args.bundle).digest,
        "bare_texts_per_s": [round(pace, 1) for pace in bare],
        "bare_one_by_one_texts_per_s": [round(pace, 1) for pace in alone],
    }
    print(f"{'':14}{'per s':>8}{'of bare':>9}{'p50 ms':>8}{'p99 ms':>8}  statuses")
    print(f"{'bare engine':14}{ceiling:8.0f}{1:9.2f}")
    print(
        f"{'  one by one':14}{statistics.mean(alone):8.0f}{statistics.mean(alone) / ceiling:9.2f}"
    )
    for topology, load in loads.items():
        facts = summary(load)
        ratio = len(measured) / load.seconds / ceiling
        result[topology] = {**facts, "ratio_to_bare": round(ratio, 3)}
        print(
            f"{topology:14}{facts['requests_per_s']:8.0f}{ratio:9.2f}{facts['p50_ms']:8}"
            f"{facts['p99_ms']:8}  {facts['statuses']}"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "throughput.json"
    file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {file}", file=sys.stderr)
    return 0 if all(set(load.statuses) == {200} for load in loads.values()) else 1


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
