"""Converts a classifier into an FP32 and an INT8 bundle and judges both before anything is written.

INT8 takes its activation scales from other texts than those that it is judged on. Used by `export`
and `import`; `parity` holds the gates.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import tokenizers
import torch

from deployments.tokenizer.replica import LoadedTokenizer
from pipelines.errors import CheckpointError, ParityError, QuantisationError, refusing
from pipelines.export.odd_texts import odd_texts
from pipelines.export.onnx_graph import INPUTS, export_fp32, quantise_int8
from pipelines.export.parity import (
    LOGIT_TOLERANCE,
    MIN_AGREEMENT,
    Agreement,
    BatchShift,
    FloatArray,
    batch_shift,
    require_agreement,
    require_equal,
    require_steady,
)
from pipelines.export.serving_scores import BATCH_TEXTS, ServedModel, padded_batches
from pipelines.export.static_quantization import Feed
from pipelines.training.classifier import Classifier, ClassifierSpec, logits_of
from registry.bundles.bundle import check_name, open_bundle, write_bundle
from registry.records import Bundle, EngineHints

FP32: Literal["fp32"] = "fp32"
INT8: Literal["int8"] = "int8"
TOOLS = ("torch", "transformers", "onnx", "onnxruntime", "tokenizers")
# torch is slow on many padded batches and FP32 parity is a property of the graph, not of the texts.
TORCH_TEXTS = 256
# The library's own answer is asked one text at a time.
REFERENCE_TEXTS = 32

ENCODERS = "use an encoder such as BERT, RoBERTa, DistilBERT, ELECTRA, MPNet or ModernBERT"
OTHER_ENCODER = f"{ENCODERS}, or serve it by PyTorch with --engine torch"

Reference = Callable[[Sequence[str]], FloatArray]


@dataclass(frozen=True, slots=True)
class Exported:
    """The two bundles and how they compare.

    Attributes:
        fp32: The bundle that equals torch.
        torch_difference: Largest absolute difference of a logit, FP32 ONNX against torch.
        int8: The bundle to serve on a CPU; None where only FP32 was wanted.
    """

    fp32: Bundle
    torch_difference: float
    int8: Int8 | None


@dataclass(frozen=True, slots=True)
class Int8:
    """The 8-bit bundle and how it compares.

    Attributes:
        bundle: The bundle.
        agreement: INT8 against FP32.
        batch_shift: INT8 alone against INT8 in a batch.
    """

    bundle: Bundle
    agreement: Agreement
    batch_shift: BatchShift


def export_bundles(
    model: Classifier,
    spec: ClassifierSpec,
    tokenizer: tokenizers.Tokenizer,
    out: Path,
    name: str,
    *,
    texts: Sequence[str],
    calibration: Sequence[str],
    provenance: Mapping[str, str],
    tolerance: float = LOGIT_TOLERANCE,
    min_agreement: float = MIN_AGREEMENT,
    reference: Reference | None = None,
    with_int8: bool = True,
) -> Exported:
    """Converts, compares and writes `out/fp32` and `out/int8`.

    Args:
        model: In evaluation mode.
        spec: Labels and limits.
        tokenizer: Truncation and padding off.
        out: Made when missing.
        name: Name of both bundles.
        texts: Real texts to compare on; FP32 on the first 256, INT8 on all. Odd texts are added.
        calibration: Representative texts from which INT8 takes its activation scales.
        provenance: Goes into both bundles, with the versions of the tools.
        tolerance: Largest allowed difference of a logit between torch and FP32.
        min_agreement: Smallest allowed share of texts with the same label in FP32 and INT8.
        reference: Logits of texts by the library alone, where there is one to compare with.
        with_int8: Whether `out/int8` is wanted; one of an earlier run is removed where not.

    Raises:
        ParityError: FP32 cannot be made or does not say what its source says. Nothing is written.
        QuantisationError: The same of INT8.
        CheckpointError: `out` cannot be written.
    """
    check_name(name)
    facts = {**provenance, **{tool: version(tool) for tool in TOOLS}, "machine": platform.machine()}
    with refusing(CheckpointError, f"bundles cannot be written to {out}"), workspace(out) as work:
        tokenizer.save(str(work / "tokenizer.json"))
        kind = model.body.config.model_type
        with refusing(
            ParityError,
            f"this {kind} model cannot be exported to ONNX",
            OTHER_ENCODER,
            scratch=work,
        ):
            export_fp32(model, work / "fp32.onnx", max_tokens=spec.max_tokens)
            fp32 = ServedModel(_bundle(work, FP32, name, spec, facts))
        served = LoadedTokenizer(fp32.bundle)
        odd = odd_texts(served, spec.max_tokens, texts)
        with refusing(
            ParityError, f"the ONNX form of this {kind} model fails", OTHER_ENCODER, scratch=work
        ):
            difference = _judge_fp32(
                model, fp32, texts[:TORCH_TEXTS], odd, tolerance=tolerance, reference=reference
            )
        int8 = None
        if with_int8:
            calibrating = odd_texts(served, spec.max_tokens, calibration, calibrating=True)
            with refusing(
                QuantisationError, f"this {kind} model cannot be turned into INT8", scratch=work
            ):
                batch_invariant = quantise_int8(
                    work / "fp32.onnx",
                    work / "int8.onnx",
                    feeds(fp32.bundle, [*calibration, *calibrating]),
                )
                bundle = _bundle(work, INT8, name, spec, facts, batch_invariant=batch_invariant)
                int8 = _judge_int8(fp32, ServedModel(bundle), texts, odd, min_agreement)
        if int8 is None and (out / INT8).exists():
            shutil.rmtree(out / INT8)
        return Exported(
            fp32=moved(work / FP32, out / FP32),
            torch_difference=difference,
            int8=int8 and replace(int8, bundle=moved(work / INT8, out / INT8)),
        )


@contextmanager
def workspace(out: Path) -> Iterator[Path]:
    """A folder beside the result: what is moved from it after both gates never was half there, and
    a refused export leaves the last good one.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as work:
        yield Path(work)


def _judge_fp32(
    model: Classifier,
    fp32: ServedModel,
    texts: Sequence[str],
    odd: Sequence[str],
    *,
    tolerance: float,
    reference: Reference | None,
) -> float:
    """The largest difference of a logit; odd texts, which may be long, are scored one by one."""
    bundle = fp32.bundle
    differences = [
        require_equal(torch_logits(model, bundle, texts), fp32.logits(texts), tolerance),
        require_equal(torch_logits(model, bundle, odd, 1), fp32.logits(odd, 1), tolerance),
    ]
    if reference is not None:
        few = texts[:REFERENCE_TEXTS]
        differences += [
            require_equal(reference(few), fp32.logits(few), tolerance),
            require_equal(reference(odd), fp32.logits(odd, 1), tolerance),
        ]
    return max(differences)


def _judge_int8(
    fp32: ServedModel,
    int8: ServedModel,
    texts: Sequence[str],
    odd: Sequence[str],
    min_agreement: float,
) -> Int8:
    head = fp32.bundle.head
    agreement = require_agreement(fp32.logits(texts), int8.logits(texts), min_agreement, head)
    require_steady(fp32.logits(odd, 1), int8.logits(odd, 1), odd, head)
    shift = batch_shift(int8.logits(texts, BATCH_TEXTS), int8.logits(texts, 1), head)
    return Int8(int8.bundle, agreement, shift)


def _bundle(
    work: Path,
    precision: Literal["fp32", "int8"],
    name: str,
    spec: ClassifierSpec,
    facts: Mapping[str, str],
    *,
    batch_invariant: bool = True,
) -> Bundle:
    return write_bundle(
        work / precision,
        name=name,
        labels=spec.labels,
        files={"model.onnx": work / f"{precision}.onnx", "tokenizer.json": work / "tokenizer.json"},
        max_tokens=spec.max_tokens,
        truncation_side=spec.truncation_side,
        head=spec.head,
        engine=EngineHints(
            kind="onnx",
            precision=precision,
            inputs=INPUTS,
            pad_id=spec.pad_id,
            batch_invariant=batch_invariant,
        ),
        metrics={},
        provenance=facts,
    )


def feeds(bundle: Bundle, texts: Sequence[str]) -> Iterator[Feed]:
    """Yields what a graph with the inputs ``INPUTS`` takes, one text at a time."""
    ids, masks, _ = padded_batches(LoadedTokenizer(bundle), texts, bundle.engine.pad_id, 1)
    for rows, mask in zip(ids, masks, strict=True):
        yield dict(zip(INPUTS, (rows, mask), strict=True))


def moved(source: Path, target: Path) -> Bundle:
    """Puts a finished bundle in its place; replaces what was there."""
    if target.exists():
        shutil.rmtree(target)
    source.rename(target)
    return open_bundle(target)


def torch_logits(
    model: Classifier, bundle: Bundle, texts: Sequence[str], batch_texts: int = BATCH_TEXTS
) -> FloatArray:
    """Returns [texts, outputs] float32 logits by torch, on the batches that serving would run."""
    ids, masks, orders = padded_batches(
        LoadedTokenizer(bundle), texts, bundle.engine.pad_id, batch_texts
    )
    batches = [
        (torch.from_numpy(rows), torch.from_numpy(mask))
        for rows, mask in zip(ids, masks, strict=True)
    ]
    outputs = bundle.head.outputs(len(bundle.labels))
    result = np.empty((len(texts), outputs), dtype=np.float32)
    for order, logits in zip(orders, logits_of(model, batches), strict=True):
        result[order] = logits.numpy()
    return result
