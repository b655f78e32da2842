"""One section of ``benchmarks/serving/gpu.py``, in a process of its own: one way to run one model.

A fault on a GPU spoils its process, so the sections do not share one. Each case appends one
JSON line to ``--out`` as soon as it is measured; what a section that dies has measured stays.
Needs torch, transformers, tokenizers and numpy.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
    pipeline,
)
from transformers.utils import logging

from deployments.model.engines.torch import TorchEngine
from registry.records import Bundle, EngineHints

WAYS = ("packed", "padded", "packed-eager", "padded-eager", "pipeline", "pipeline-default")
LENGTHS = Path(__file__).parent / "lengths.json"
FIXED_TOKENS = 128
PROBE_TEXTS = 64
WORK_TEXTS = 1_024
_MIN_CALLS = 5
_MAX_CALLS = 2_000
# Rows swapped, or attention across rows, differ by the whole range; BF16 by a few hundredths.
_AGREEMENT = 0.2


@dataclass(frozen=True)
class Work:
    """Texts of one workload.

    Attributes:
        name: ``fixed 128`` or ``real``.
        texts: Strings whose encodings have exactly ``lengths`` tokens.
        rows: Token ids of each.
        lengths: Tokens of each.
    """

    name: str
    texts: list[str]
    rows: list[list[int]]
    lengths: list[int]


def flops(config: AutoConfig, length: int) -> float:
    """Floating-point operations of the layers for one text of ``length`` tokens.

    ``layers x (8 L h^2 + 4 L h f + 4 L^2 h)``: the products with the four attention matrices,
    with the two of the feed-forward part (f wide), and scores and values of the attention; a
    multiplication and an addition count as two. For f = 4h it is the forward pass of Narayanan
    et al. 2021 (arXiv:2104.04473, section 5.1), 24 B s h^2 + 4 B s^2 h for each layer.
    Embeddings, normalisation, GELU and the head are left out, and so is padding: a way
    that computes padding gets nothing for it.
    """
    wide = getattr(config, "intermediate_size", None) or config.hidden_dim
    h = config.hidden_size
    per_layer = 8 * length * h * h + 4 * length * h * wide + 4 * length * length * h
    return float(config.num_hidden_layers * per_layer)


def works(tokenizer: Tokenizer, count: int) -> list[Work]:
    """``count`` texts of 128 tokens and as many of the committed real lengths."""
    real = json.loads(LENGTHS.read_text(encoding="utf-8"))["lengths"]
    lengths = {
        f"fixed {FIXED_TOKENS}": [FIXED_TOKENS] * count,
        "real": [real[i % len(real)] for i in range(count)],
    }
    rng = np.random.default_rng(11)
    words = tokenizer.get_vocab_size() - 10
    made = []
    for name, wanted in lengths.items():
        texts = [
            " ".join(f"w{word}" for word in rng.integers(0, words, length - 2)) for length in wanted
        ]
        rows = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        assert [len(row) for row in rows] == wanted
        made.append(Work(name, texts, rows, wanted))
    return made


def padded(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask, ``[rows, longest] int64``."""
    lengths = np.array([len(row) for row in rows])
    mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    ids = np.zeros(mask.shape, dtype=np.int64)
    ids[mask == 1] = np.concatenate(rows)
    return ids, mask


def engine_ways(
    engine: TorchEngine, tokenizer: Tokenizer, work: Work, batch: int
) -> Iterator[tuple[str, Callable[[int], list[int]]]]:
    """Ways to run batch ``i`` of a workload; each returns the lengths of the texts that it ran.

    Windows are taken in arrival order. A layout that computes padding gets them sorted by
    length and cut in four, as a planner would.
    """
    cuts = 4 if work.name == "real" and "Padded" in type(engine.layout).__name__ else 1

    def window(i: int) -> list[int]:
        start = i * batch % (len(work.texts) - batch + 1)
        return list(range(start, start + batch))

    def run(rows: list[list[int]]) -> None:
        rows = sorted(rows, key=len) if cuts > 1 else rows
        step = -(-len(rows) // cuts)
        for start in range(0, len(rows), step):
            engine.run(*padded(rows[start : start + step]))

    def ids_to_logits(i: int) -> list[int]:
        chosen = window(i)
        run([work.rows[at] for at in chosen])
        return [work.lengths[at] for at in chosen]

    def text_to_logits(i: int) -> list[int]:
        chosen = window(i)
        run([e.ids for e in tokenizer.encode_batch([work.texts[at] for at in chosen])])
        return [work.lengths[at] for at in chosen]

    yield "engine", ids_to_logits
    yield "tokenizer and engine", text_to_logits


def measure(
    call: Callable[[int], list[int]], config: AutoConfig, seconds: float, calls_at_least: int
) -> dict[str, float]:
    """Runs ``call`` for about ``seconds`` after a warm-up of every shape it will see."""
    for i in range(calls_at_least):
        call(i)
    latencies: list[float] = []
    ran: list[int] = []
    started = time.perf_counter()
    while len(latencies) < _MIN_CALLS or (
        time.perf_counter() - started < seconds and len(latencies) < _MAX_CALLS
    ):
        before = time.perf_counter()
        ran += call(len(latencies))
        latencies.append(time.perf_counter() - before)
    elapsed = sum(latencies)
    percentiles = statistics.quantiles(latencies, n=100, method="inclusive")
    return {
        "calls": len(latencies),
        "texts_per_s": round(len(ran) / elapsed, 1),
        "tokens_per_s": round(sum(ran) / elapsed),
        "tflops": round(sum(flops(config, length) for length in ran) / elapsed / 1e12, 2),
        "p50_ms": round(percentiles[49] * 1e3, 3),
        "p99_ms": round(percentiles[98] * 1e3, 3),
    }


def matmul_tflops(device: str, size: int) -> float:
    """Pace of one square bf16 product on random numbers: what this device gives at best."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        (a @ b)[0, 0].item()
        best = min(best, time.perf_counter() - started)
    return round(2 * size**3 / best / 1e12, 2)


def agreement(logits: np.ndarray, reference: np.ndarray) -> dict[str, float | bool]:
    """Largest difference to FP32 by plain transformers, and the same as a share of its range."""
    difference = float(np.abs(logits - reference).max())
    share = difference / float(np.ptp(reference, axis=0).max())
    return {
        "max_difference": round(difference, 6),
        "of_range": round(share, 5),
        "agrees": share < _AGREEMENT,
    }


def main() -> int:
    """Measures one section; the exit status is 0 when all its cases were measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder")
    parser.add_argument("--way", choices=WAYS, required=True)
    parser.add_argument("--precision", choices=("fp32", "fp16", "bf16"), required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument("--batches", type=int, nargs="+", required=True)
    parser.add_argument("--seconds", type=float, required=True, help="for each case")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    if args.device == "cpu":
        torch.set_num_threads(1)  # A trial run; threads that wait for each other only slow it.

    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    config = AutoConfig.from_pretrained(args.model)
    measure_way = measure_pipeline if args.way.startswith("pipeline") else measure_engine
    with args.out.open("a", encoding="utf-8", buffering=1) as lines:
        for case in measure_way(args, config, tokenizer):
            lines.write(json.dumps(case) + "\n")
    return 0


def measure_pipeline(
    args: argparse.Namespace, config: AutoConfig, tokenizer: Tokenizer
) -> Iterator[dict[str, object]]:
    """Cases of the Hugging Face pipeline."""
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    model = AutoModelForSequenceClassification.from_pretrained(
        args.model, dtype=dtype[args.precision]
    )
    peer = pipeline(
        "text-classification",
        model=model,
        tokenizer=PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token="[PAD]",
            model_input_names=["input_ids", "attention_mask"],
        ),
        device=torch.device(args.device),
    )
    for work in works(tokenizer, WORK_TEXTS):
        for batch in args.batches:

            def call(i: int, work: Work = work, batch: int = batch) -> list[int]:
                start = i * batch % (len(work.texts) - batch + 1)
                peer(work.texts[start : start + batch], batch_size=batch)
                return work.lengths[start : start + batch]

            figures = measure(call, config, args.seconds, 3)
            yield {"work": work.name, "batch": batch, "kind": "text to label", **figures}


def measure_engine(
    args: argparse.Namespace, config: AutoConfig, tokenizer: Tokenizer
) -> Iterator[dict[str, object]]:
    """Agreement with FP32 by plain transformers first, then the cases of our engine."""
    engine = TorchEngine(
        Bundle(
            directory=args.model,
            digest="",
            name=args.model.name,
            labels=("a", "b"),
            max_tokens=512,
            temperature=1.0,
            engine=EngineHints("torch", args.precision, ("input_ids", "attention_mask"), 0),
            metrics={},
            provenance={},
            files={},
        ),
        provider=args.device,
        threads=1,
        gpu_share=1 if args.device == "cuda" else 0,
        packed=args.way.startswith("packed"),
        graphs=not args.way.endswith("eager"),
    )
    layout = type(engine.layout).__name__
    rows = works(tokenizer, PROBE_TEXTS)[1].rows
    reference = np.load(args.model / "reference.npy")
    alone = np.concatenate([engine.run(*padded([row])) for row in rows])
    yield {"kind": "agreement alone", "layout": layout, **agreement(alone, reference)}
    yield {"kind": "agreement together", **agreement(engine.run(*padded(rows)), reference)}
    captures = args.device == "cuda" and not args.way.endswith("eager")
    for work in works(tokenizer, WORK_TEXTS):
        for batch in args.batches:
            for kind, call in engine_ways(engine, tokenizer, work, batch):
                # One round through the texts (at most 200 calls) meets nearly every shape.
                warm_up = max(3, min(200, len(work.texts) // batch)) if captures else 3
                figures = measure(call, config, args.seconds, warm_up)
                yield {"work": work.name, "batch": batch, "kind": kind, **figures}
    if args.device == "cuda":
        yield {"kind": "device", "matmul_tflops": matmul_tflops("cuda", 8_192)}
        yield {"kind": "memory", "peak_bytes": torch.cuda.max_memory_allocated()}


if __name__ == "__main__":
    sys.exit(main())
