"""The one model that every peer serves, and the settings that every peer is started with.

It runs inside each peer's own environment, so it needs onnxruntime, tokenizers and numpy
alone and imports nothing of the project. A server file beside it adds what its framework
asks for and nothing else: no cache, no sorting, no tuning that its documentation does not name.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import tokenizers


@dataclass(frozen=True)
class Settings:
    """What the harness asks of a server, from the ``BENCH_*`` variables.

    Attributes:
        bundle: Folder with model.onnx, tokenizer.json and bundle.json.
        port: Where to answer HTTP on 127.0.0.1.
        max_batch: Texts in one batch; 1 turns batching off.
        wait_ms: Longest wait for a batch to fill.
        workers: Processes or instances that each hold a model.
        threads: ONNX Runtime threads of each worker; workers times threads is the machine's cores.
        concurrency: The framework's own limit on requests inside a worker; 0 is its default.
    """

    bundle: Path
    port: int
    max_batch: int
    wait_ms: float
    workers: int
    threads: int
    concurrency: int


def settings() -> Settings:
    """Reads the settings of this server."""
    return Settings(
        bundle=Path(os.environ["BENCH_BUNDLE"]),
        port=int(os.environ["BENCH_PORT"]),
        max_batch=int(os.environ["BENCH_MAX_BATCH"]),
        wait_ms=float(os.environ["BENCH_WAIT_MS"]),
        workers=int(os.environ["BENCH_WORKERS"]),
        threads=int(os.environ["BENCH_THREADS"]),
        concurrency=int(os.environ["BENCH_CONCURRENCY"]),
    )


class Classifier:
    """One session and its tokenizer. ``classify`` may be called from several threads."""

    def __init__(self, bundle: Path, threads: int) -> None:
        manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
        self._labels = manifest["labels"]
        self._temperature = np.float32(manifest["temperature"])
        self._tokenizer = tokenizers.Tokenizer.from_file(str(bundle / "tokenizer.json"))
        self._tokenizer.enable_truncation(max_length=manifest["max_tokens"])
        self._tokenizer.enable_padding(pad_id=manifest["engine"]["pad_id"])
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A spinning thread takes the core that another worker needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Faster than every fusion (docs/decisions/0011); all systems get the same.
        self._session = ort.InferenceSession(
            str(bundle / "model.onnx"),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["SkipLayerNormFusion"],
        )
        self.classify(["ready"])

    def classify(self, texts: Sequence[str]) -> list[dict[str, object]]:
        """Label and score of each text, in order; one batch, padded to its longest text."""
        encodings = self._tokenizer.encode_batch(list(texts))
        feed = {
            "input_ids": np.array([row.ids for row in encodings], dtype=np.int64),
            "attention_mask": np.array([row.attention_mask for row in encodings], dtype=np.int64),
        }
        logits = self._session.run(["logits"], feed)[0] / self._temperature
        exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = exponent / exponent.sum(axis=1, keepdims=True)
        best = scores.argmax(axis=1)
        return [
            {"label": self._labels[column], "score": float(row[column])}
            for row, column in zip(scores, best, strict=True)
        ]


def from_settings() -> Classifier:
    """The classifier of this worker."""
    wanted = settings()
    return Classifier(wanted.bundle, wanted.threads)
