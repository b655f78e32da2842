"""One rung of ``cold_start.py``: from nothing to the first answer, in this process.

Imports stand inside the phases on purpose: when a module is loaded is what is measured.
Prints one JSON line: the phases with wall and CPU milliseconds, and the answer.
"""

# ruff: noqa: PLC0415

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deployments.model.engines import Engine

TEXT = "The delivery was late and the box was broken, but support answered within an hour."
LENGTHS = (3, 25, 128)


class Phases:
    """What happened between two calls of ``end``."""

    def __init__(self, started_monotonic_s: float) -> None:
        self._wall_s, self._cpu_s = started_monotonic_s, 0.0
        self.done: list[tuple[str, float, float]] = []

    def end(self, name: str) -> None:
        """Closes the phase that began with the last ``end``."""
        wall_s, cpu_s = time.monotonic(), time.process_time()
        wall_ms, cpu_ms = (wall_s - self._wall_s) * 1e3, (cpu_s - self._cpu_s) * 1e3
        self.done.append((name, wall_ms, cpu_ms))
        self._wall_s, self._cpu_s = wall_s, cpu_s

    def restart(self) -> None:
        """Forgets what was before: a swap inside a running process begins here."""
        self.done.clear()
        self._wall_s, self._cpu_s = time.monotonic(), time.process_time()


def by_pipeline(folder: Path, phases: Phases) -> list[float]:
    """The Hugging Face pipeline from a local directory, as its quick start shows it."""
    from transformers import pipeline
    from transformers.utils import logging

    logging.disable_progress_bar()
    phases.end("imports")
    classify = pipeline("text-classification", model=str(folder / "hf"), top_k=None, device="cpu")
    phases.end("load")
    found = {item["label"]: item["score"] for item in classify([TEXT])[0]}
    phases.end("first answer")
    return [found["LABEL_0"], found["LABEL_1"]]


def by_engine(bundle_name: str, session: str) -> Callable[[Path, Phases], list[float]]:
    """Our path: verify, open the engine, open the tokenizer, answer."""

    def run(folder: Path, phases: Phases) -> list[float]:
        from deployments.model.engines import open_engine
        from deployments.model.runner import LoadedModel
        from deployments.tokenizer.replica import LoadedTokenizer
        from registry.bundles.bundle import open_bundle

        if session != "engine" or bundle_name != "torch":
            import onnxruntime as ort
        else:
            import deployments.model.engines.torch  # noqa: F401
        phases.end("imports")
        bundle = open_bundle(folder / bundle_name)
        phases.end("digests")
        engine: Engine
        if session == "engine":
            engine = open_engine(bundle, provider="cpu", threads=1)
        else:
            engine = RawSession(ort, folder, bundle_name, session)
        phases.end("session")
        tokenizer = LoadedTokenizer(bundle)
        phases.end("tokenizer")
        model = LoadedModel(bundle, engine)
        scores = model.score([tokenizer.encode([TEXT]).ids])
        phases.end("first answer")
        return [float(score) for score in scores[0]]

    return run


class RawSession:
    """ONNX Runtime by hand, for the rungs that the engine does not take."""

    device = "cpu"
    build = "by hand"

    def __init__(self, ort: Any, folder: Path, bundle_name: str, session: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        level = ort.GraphOptimizationLevel
        model = {
            "all": folder / bundle_name / "model.onnx",
            "written": folder / f"{bundle_name}.written.onnx",
            "mapped": folder / f"{bundle_name}.written.ort",
        }[session]
        options.graph_optimization_level = (
            level.ORT_ENABLE_ALL if session == "all" else level.ORT_DISABLE_ALL
        )
        if session == "mapped":
            options.add_session_config_entry("session.use_memory_mapped_ort_model", "1")
        self._session = ort.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )

    def gpu_memory(self) -> dict[str, int]:
        """See ``Engine.gpu_memory``."""
        return {}

    def run(self, input_ids: Any, attention_mask: Any) -> Any:
        """See ``Engine.run``."""
        feed = {"input_ids": input_ids, "attention_mask": attention_mask}
        return self._session.run(["logits"], feed)[0]


def swap_engine(folder: Path, phases: Phases) -> list[float]:
    """A second version into a process that serves one: what a Model replica does."""
    first = by_engine("int8", "engine")
    first(folder, phases)
    import numpy as np

    from deployments.model.engines import open_engine
    from deployments.model.runner import LoadedModel
    from deployments.tokenizer.replica import LoadedTokenizer
    from registry.bundles.bundle import open_bundle

    phases.restart()
    bundle = open_bundle(folder / "second")
    phases.end("digests")
    model = LoadedModel(bundle, open_engine(bundle, provider="cpu", threads=1))
    phases.end("session")
    for length in LENGTHS:
        model.score([np.full(length, 1_000, dtype=np.int32)])
    phases.end("warm-up")
    tokenizer = LoadedTokenizer(bundle)
    phases.end("tokenizer")
    scores = model.score([tokenizer.encode([TEXT]).ids])
    phases.end("first answer")
    return [float(score) for score in scores[0]]


def swap_pipeline(folder: Path, phases: Phases) -> list[float]:
    """A second pipeline in a process that has one."""
    by_pipeline(folder, phases)
    phases.restart()
    return by_pipeline(folder, phases)


RUNGS: dict[str, Callable[[Path, Phases], list[float]]] = {
    "PyTorch pipeline, FP32": by_pipeline,
    "torch engine, FP32": by_engine("torch", "engine"),
    "ONNX FP32, every fusion": by_engine("fp32", "all"),
    "ONNX FP32, our options": by_engine("fp32", "engine"),
    "ONNX INT8, every fusion": by_engine("int8", "all"),
    "ONNX INT8, our options": by_engine("int8", "engine"),
    "ONNX INT8, optimised file": by_engine("int8", "written"),
    "ONNX INT8, optimised file in ORT format, mapped": by_engine("int8", "mapped"),
    "swap: PyTorch pipeline": swap_pipeline,
    "swap: ONNX INT8, our options": swap_engine,
}


def main() -> None:
    """``python -m benchmarks.serving.cold_start_rung RUNG FOLDER STARTED``."""
    rung, folder, started = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    phases = Phases(started)
    phases.end("interpreter")
    scores = RUNGS[rung](folder, phases)
    print(json.dumps({"phases": phases.done, "scores": scores}))


if __name__ == "__main__":
    main()
