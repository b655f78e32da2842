"""What the graph's form and the session's options cost.

``python -m benchmarks.serving.graph_optimisation``:

A MiniLM-shaped encoder with random weights is exported once and quantised twice: with activation
scales per batch (``quantize_dynamic``) and with constant ones
(``pipelines.export.static_quantization``). Each form runs with every optimisation of ONNX Runtime,
with the engine's (all but one fusion) and at the basic level. One thread, interleaved runs, median
CPU milliseconds of a batch. Two minutes.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from onnxruntime.quantization import quantize_dynamic
from transformers import BertConfig

from benchmarks.harness.machine import versions
from benchmarks.harness.models import BUNDLED
from benchmarks.harness.output import RESULTS, result, run_facts
from deployments.model.engines.onnx import SLOW_ON_CPU, session_options
from pipelines.data.everyday_texts import NEGATIVE_SENTENCES, POSITIVE_SENTENCES
from pipelines.export.bundles import feeds
from pipelines.export.onnx_graph import export_fp32, quantise_int8
from pipelines.training.classifier import build
from registry.bundles.bundle import open_bundle

SHAPES = ((1, 25), (8, 25), (1, 128))
OPTIONS = ("every fusion", "the engine's", "basic level")
RESULT = RESULTS / "graph.json"


def write_forms(folder: Path) -> dict[str, Path]:
    """The three files: FP32, INT8 with scales per batch, INT8 with constant scales."""
    torch.manual_seed(1)
    shape = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12)
    shape.intermediate_size = 4 * shape.hidden_size
    model = build(shape, "sequence-classification", 2).eval()
    forms = {name: folder / f"{name}.onnx" for name in ("FP32", "INT8 per batch", "INT8 constant")}
    fp32, dynamic, constant = forms.values()
    export_fp32(model, fp32, max_tokens=256)
    quantize_dynamic(fp32, dynamic, per_channel=True, reduce_range=True)
    texts = [*POSITIVE_SENTENCES, *NEGATIVE_SENTENCES]
    quantise_int8(fp32, constant, feeds(open_bundle(BUNDLED), texts))
    return forms


def open_session(path: Path, form: str) -> ort.InferenceSession:
    """A session of one thread with one of ``OPTIONS``."""
    options = session_options(1)
    if form == "basic level":
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return ort.InferenceSession(
        str(path),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=SLOW_ON_CPU if form == "the engine's" else None,
    )


def measure(
    sessions: dict[tuple[str, str], ort.InferenceSession], seconds: float
) -> list[dict[str, object]]:
    """One row for each session: median CPU ms for each shape."""
    random = np.random.default_rng(0)
    batches = {shape: random.integers(1_000, 20_000, shape) for shape in SHAPES}
    times: dict[tuple[str, str, tuple[int, int]], list[float]] = {}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for shape, ids in batches.items():
            for (form, options), session in sessions.items():
                before = time.thread_time()
                session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
                taken_ms = (time.thread_time() - before) * 1_000
                times.setdefault((form, options, shape), []).append(taken_ms)
    return [
        {
            "file": form,
            "options": options,
            **{
                f"{rows} x {tokens}": round(
                    statistics.median(times[form, options, (rows, tokens)]), 2
                )
                for rows, tokens in SHAPES
            },
        }
        for form, options in sessions
    ]


def main() -> int:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=90, help="time of all runs together")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    facts = run_facts()
    with tempfile.TemporaryDirectory() as folder:
        forms = write_forms(Path(folder))
        sessions = {
            (form, options): open_session(path, options)
            for form, path in forms.items()
            for options in OPTIONS
        }
        rows = measure(sessions, args.seconds)
    result(args.out, facts | {"versions": versions(), "cpu_ms": rows})
    for row in rows:
        print("  ".join(f"{value!s:>15}" for value in row.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
