"""What a text costs, as a count and not as a time: no figure here depends on what else runs.

The multiplications of all matrix products are counted from the shapes that ONNX Runtime reports
while it runs some of the texts, so they follow length, truncation and layers. INT8 and FP32 of one
model multiply as often; `model_mb` tells them apart.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from deployments.tokenizer.replica import LoadedTokenizer
from registry.bundles.bundle import MODEL_FILE
from registry.records import Bundle

SAMPLE = 32
_PRODUCTS = ("MatMul", "Gemm")


def cost_of(bundle: Bundle, texts: Sequence[str]) -> dict[str, float]:
    """Returns `tokens_per_text`, `model_mb` and, of an ONNX bundle, `gmacs_per_text`: 10^9
    multiply-accumulates of matrix products, the mean over 32 texts of evenly spread lengths.
    """
    encodings = LoadedTokenizer(bundle).encode(texts)
    found = {
        "tokens_per_text": float(np.mean(encodings.lengths)),
        "model_mb": bundle.files[MODEL_FILE[bundle.engine.kind]][1] / 1e6,
    }
    if bundle.engine.kind == "onnx":
        by_length = np.argsort(encodings.lengths, kind="stable")
        chosen = by_length[np.linspace(0, len(texts) - 1, min(SAMPLE, len(texts))).astype(int)]
        lengths = [int(encodings.lengths[at]) for at in chosen]
        found["gmacs_per_text"] = sum(_products(bundle, lengths)) / len(lengths) / 1e9
    return found


def _products(bundle: Bundle, lengths: Sequence[int]) -> Iterator[int]:
    """Multiply-accumulates of each matrix product, one run for each length."""
    with tempfile.TemporaryDirectory(prefix="sentigraph-cost-") as folder:
        options = ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        # Fused attention hides its products.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        model = str(bundle.directory / MODEL_FILE["onnx"])
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for length in lengths:
            ids = np.full((1, length), bundle.engine.pad_id, dtype=np.int64)
            feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            feed["token_type_ids"] = np.zeros_like(ids)
            session.run(["logits"], {name: feed[name] for name in bundle.engine.inputs})
        events = json.loads(Path(session.end_profiling()).read_text())
    yield from (_multiplied(event["args"]) for event in events if _is_product(event))


def _is_product(event: Mapping[str, Any]) -> bool:
    args = event.get("args", {})
    return "input_type_shape" in args and any(n in args.get("op_name", "") for n in _PRODUCTS)


def _multiplied(args: Mapping[str, Any]) -> int:
    left, result = _shape(args["input_type_shape"][0]), _shape(args["output_type_shape"][0])
    return int(np.prod(result)) * left[-1]


def _shape(typed: Mapping[str, Sequence[int]]) -> Sequence[int]:
    (shape,) = typed.values()
    return shape
