"""What the prediction log costs a predictor: ``python -m benchmarks.serving.prediction_log``.

An event loop answers nothing but ticks, every two milliseconds, and adds rows at a steady
rate as an ingress would. Measured, in turns with the log off and on: the time of one ``add``,
how late ticks are, and the process's CPU time for each row up to the finished Parquet file.
Nothing else runs in the process; no Ray.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds

from benchmarks.harness.machine import ROOT
from benchmarks.harness.output import RESULTS, result, run_facts, say
from benchmarks.harness.texts import real_texts
from configs.schema.prediction_log import PredictionLogConfig
from deployments.prediction_log.log import PredictionLog
from deployments.prediction_log.parquet import ParquetStore
from deployments.prediction_log.rows import LoggedAnswer, RowWriter
from deployments.predictions import Outcome, Prediction
from deployments.telemetry.metrics import Metrics
from deployments.versions import ServedVersion

RESULT = RESULTS / "prediction_log.json"
_TICK_S = 0.002
_LIVE = ServedVersion(
    "sentiment", 1, "ab" * 32, ("NEGATIVE", "POSITIVE"), "onnx", "int8", 128, "registry"
)
_OUTCOME = Outcome(Prediction(np.array([0.2, 0.8], dtype=np.float32), 25, False), cached=False)


def row(text: str, number: int) -> LoggedAnswer:
    """One prediction."""
    scores = {"NEGATIVE": 0.2, "POSITIVE": 0.8}
    name = f"p-{number}"
    return LoggedAnswer(time.time_ns(), name, "http", text, _LIVE, _OUTCOME, "POSITIVE", scores)


async def ticks(
    texts: list[str], log: PredictionLog | None, seconds: float, rate: float
) -> tuple[list[float], list[float], int]:
    """Lateness of each tick, time of each ``add`` (or of making the row alone), rows."""
    late: list[float] = []
    added: list[float] = []
    number, due_s = 0, time.perf_counter()
    until_s = due_s + seconds
    while due_s < until_s:
        due_s += _TICK_S
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        late.append(time.perf_counter() - due_s)
        while number < rate * (seconds - (until_s - due_s)):
            started_s = time.perf_counter()
            made = row(texts[number % len(texts)], number)
            if log is not None:
                log.add(made)
            added.append(time.perf_counter() - started_s)
            number += 1
    return late, added, number


def measure(texts: list[str], seconds: float, rate: float, *, on: bool) -> dict[str, float]:
    """One turn."""
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        config = PredictionLogConfig(
            uri=f"{folder}/lake", buffer_dir=f"{folder}/buffer", flush_s=1.0
        )
        log = None
        if on:
            rows, store = RowWriter(config, "1", "local"), ParquetStore(config)
            log = PredictionLog(config, rows, store, Metrics().prediction_log)
        cpu_s = time.process_time()
        late, added, number = asyncio.run(ticks(texts, log, seconds, rate))
        if log is not None:
            log.close()
        cpu_s = time.process_time() - cpu_s
        if log is not None:
            stored = ds.dataset(f"{folder}/lake", partitioning="hive").count_rows()
            assert stored == number, (stored, number)
    figures = {"tick_late_p50_ms": 50.0, "tick_late_p99_ms": 99.0, "tick_late_p999_ms": 99.9}
    return {
        **{name: float(np.percentile(late, at)) * 1_000 for name, at in figures.items()},
        "add_p50_us": float(np.percentile(added, 50)) * 1e6,
        "add_p99_us": float(np.percentile(added, 99)) * 1e6,
        "cpu_us_per_row": cpu_s / number * 1e6,
    }


def main() -> None:
    """Alternates off and on; prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn")
    parser.add_argument("--rate", type=float, default=1_000.0, help="rows a second")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--save", type=Path, help=f"for example {RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    facts = run_facts()
    texts = real_texts(5_000)
    turns: dict[str, list[dict[str, float]]] = {"off": [], "on": []}
    for _ in range(given.turns):
        for name, found in turns.items():
            found.append(measure(texts, given.seconds, given.rate, on=name == "on"))
            say(f"{name} {found[-1]}")
    medians = {
        name: {key: round(float(np.median([turn[key] for turn in found])), 3) for key in found[0]}
        for name, found in turns.items()
    }
    result(given.save, {**facts, "rows_per_s": given.rate, **medians})


if __name__ == "__main__":
    main()
