"""Cold start, rung by rung: from process start to the first correct answer, and from "load" to
the first answer in a running process; ours beside the PyTorch pipeline, in one run.

    make bench-cold

Every repeat of every rung is a fresh process; the rungs take turns, so that a slow minute of the
machine meets all of them. Two sizes: the bundled model's and DistilBERT's, random weights of fixed
seed, the same in every format; each first answer is compared with PyTorch's.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnxruntime as ort
import torch
from transformers import BertConfig, DistilBertConfig, PreTrainedTokenizerFast

from benchmarks.harness.models import BUNDLED
from benchmarks.serving.cold_start_report import GUIDE, describe, render
from benchmarks.serving.cold_start_rung import RUNGS
from configs.cpu_cores import available_cores
from deployments.model.engines.onnx import SLOW_ON_CPU
from pipelines.data.everyday_texts import NEGATIVE_SENTENCES, POSITIVE_SENTENCES
from pipelines.export.bundles import feeds
from pipelines.export.onnx_graph import INPUTS, export_fp32, quantise_int8
from pipelines.training.classifier import build
from registry.bundles.bundle import open_bundle, write_bundle
from registry.records import EngineHints

ROOT = Path(__file__).resolve().parents[2]
SEED = 20140601
MAX_TOKENS = 256
# Which rungs are run again with their model files dropped from the page cache.
COLD = ("PyTorch pipeline, FP32", "ONNX FP32, our options", "ONNX INT8, our options")
# INT8 moves a score a little; a wrong row or a wrong file moves it a lot.
TOLERANCE = 0.1
CONFIGS = {
    "MiniLM": BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1_536
    ),
    "DistilBERT": DistilBertConfig(),
}


def prepare(folder: Path, config: BertConfig | DistilBertConfig) -> None:
    """Writes one model as a Hugging Face folder, three bundles and the two optimised files."""
    torch.manual_seed(SEED)
    model = build(config, "sequence-classification", 2).eval()
    model.body.save_pretrained(folder / "hf")
    tokenizer = BUNDLED / "tokenizer.json"
    PreTrainedTokenizerFast(
        tokenizer_file=str(tokenizer), pad_token="[PAD]", model_input_names=list(INPUTS)
    ).save_pretrained(folder / "hf")
    export_fp32(model, folder / "fp32.onnx", max_tokens=MAX_TOKENS)
    sentences = [*POSITIVE_SENTENCES, *NEGATIVE_SENTENCES]
    quantise_int8(
        folder / "fp32.onnx", folder / "int8.onnx", feeds(open_bundle(BUNDLED), sentences)
    )
    hf = folder / "hf"
    kinds = {
        "torch": ("torch", "fp32", {n: hf / n for n in ("model.safetensors", "config.json")}),
        "fp32": ("onnx", "fp32", {"model.onnx": folder / "fp32.onnx"}),
        "int8": ("onnx", "int8", {"model.onnx": folder / "int8.onnx"}),
        "second": ("onnx", "int8", {"model.onnx": folder / "int8.onnx"}),
    }
    for name, (kind, precision, files) in kinds.items():
        write_bundle(
            folder / name,
            name=name,
            labels=("LABEL_0", "LABEL_1"),
            files={**files, "tokenizer.json": tokenizer},
            max_tokens=MAX_TOKENS,
            engine=EngineHints(kind, precision, INPUTS, 0),  # type: ignore[arg-type]
        )
    for suffix, form in (("onnx", "ONNX"), ("ort", "ORT")):
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(folder / f"int8.written.{suffix}")
        options.add_session_config_entry("session.save_model_format", form)
        ort.InferenceSession(
            str(folder / "int8.onnx"),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=SLOW_ON_CPU,
        )


def run_rung(rung: str, folder: Path) -> dict[str, Any]:
    """One fresh process; what it printed."""
    command = [sys.executable, "-m", "benchmarks.serving.cold_start_rung", rung, str(folder)]
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [*command, repr(time.monotonic())],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{rung}: {done.stderr.strip()[-2_000:]}")
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed


def evict(folder: Path) -> float | None:
    """Drops the folder's files from the page cache; the share that stayed, None if unknown."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if shutil.which("fincore") is None:
        return None
    command = ["fincore", "--bytes", "--noheadings", "--output", "RES", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    resident = sum(int(line) for line in done.stdout.split())
    return resident / sum(path.stat().st_size for path in files)


def summary(rung: str, runs: list[dict[str, Any]], wanted: list[float]) -> dict[str, Any]:
    """Medians of each phase and the spread of the whole."""
    names = [name for name, _, _ in runs[0]["phases"]]

    def middle(values: Iterable[float]) -> float:
        return round(statistics.median(values), 1)

    totals = [sum(wall for _, wall, _ in run["phases"]) for run in runs]
    worst = max(abs(a - b) for run in runs for a, b in zip(run["scores"], wanted, strict=True))
    return {
        "rung": rung,
        "wall_ms": middle(totals),
        "min_ms": round(min(totals), 1),
        "max_ms": round(max(totals), 1),
        "cpu_ms": middle(sum(cpu for _, _, cpu in run["phases"]) for run in runs),
        "phases": {
            name: {
                "wall_ms": middle(run["phases"][i][1] for run in runs),
                "cpu_ms": middle(run["phases"][i][2] for run in runs),
            }
            for i, name in enumerate(names)
        },
        "correct": worst <= TOLERANCE,
    }


def measure(folder: Path, repeats: int) -> dict[str, Any]:
    """All rungs of one size, page cache warm, then some of them with cold model files."""
    reference = run_rung(next(iter(RUNGS)), folder)["scores"]
    runs: dict[str, list[dict[str, Any]]] = {rung: [] for rung in RUNGS}
    for repeat in range(repeats):
        for rung, found in runs.items():
            found.append(run_rung(rung, folder))
        print(f"  repeat {repeat + 1} of {repeats}", file=sys.stderr)
    warm = [summary(rung, found, reference) for rung, found in runs.items()]
    cold, stayed = [], []
    for rung in COLD:
        found = []
        for _ in range(repeats):
            stayed.append(evict(folder))
            found.append(run_rung(rung, folder))
        cold.append(summary(rung, found, reference))
    known = [share for share in stayed if share is not None]
    return {"warm": warm, "cold": cold, "stayed_in_cache": max(known) if known else None}


def main() -> int:
    """Measures, prints the tables and writes result and guide; 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--sizes", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "results" / "cold_start.json"
    )
    parser.add_argument("--guide", type=Path, default=GUIDE, help="page whose tables are replaced")
    args = parser.parse_args()
    result: dict[str, Any] = {
        "command": "make bench-cold",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": _processor(), "cores": available_cores()},
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "transformers", "onnxruntime")},
        "repeats": args.repeats,
    }
    sizes: dict[str, Any] = {}
    result["sizes"] = sizes
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for size in args.sizes:
        print(f"{size}: exporting", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="sentigraph-cold-") as scratch:
            prepare(Path(scratch), CONFIGS[size])
            sizes[size] = measure(Path(scratch), args.repeats)
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    render(result, args.guide)
    print(describe(result))
    print(f"written to {args.out} and {args.guide}", file=sys.stderr)
    rungs = [rung for size in sizes.values() for part in ("warm", "cold") for rung in size[part]]
    return int(not all(rung["correct"] for rung in rungs))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
