"""Third step: from the trained classifier to two ONNX bundles, FP32 and INT8.

INT8 takes its activation scales from training texts, so it never saw the texts it is judged on.

Each conversion is judged on real texts before anything is written: `parity` holds the gates. The
bundles carry temperature 1; `evaluate` comes next, fits it and writes the bundle that is served.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import tokenizers
import torch

from deployments.tokenizer.replica import LoadedTokenizer
from pipelines.data.table import read_table
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
)
from pipelines.export.serving_scores import BATCH_TEXTS, ServedModel, padded_batches
from pipelines.export.static_quantization import Feed
from pipelines.provenance import read_provenance
from pipelines.tracking import add_tracking_arguments, open_run
from pipelines.training.classifier import Classifier, ClassifierSpec, load_classifier, logits_of
from registry.bundles.bundle import open_bundle, write_bundle
from registry.records import Bundle, EngineHints

FP32: Literal["fp32"] = "fp32"
INT8: Literal["int8"] = "int8"
FIGURES = "export.json"
TOOLS = ("torch", "transformers", "onnx", "onnxruntime", "tokenizers")
# The ranges of the bundled model do not widen after some 100 texts.
CALIBRATION_TEXTS = 256
# torch is slow on many padded batches and FP32 parity is a property of the graph, not of the texts.
TORCH_TEXTS = 256


@dataclass(frozen=True, slots=True)
class Exported:
    """The two bundles and how they compare.

    Attributes:
        fp32: The bundle that equals torch.
        int8: The bundle to serve on a CPU.
        torch_difference: Largest absolute difference of a logit, FP32 ONNX against torch.
        agreement: INT8 against FP32.
        batch_shift: INT8 alone against INT8 in a batch.
    """

    fp32: Bundle
    int8: Bundle
    torch_difference: float
    agreement: Agreement
    batch_shift: BatchShift


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph export`."""
    parser.add_argument(
        "--data", type=Path, default=Path(".sentigraph/data"), help="folder that `data` wrote"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=Path(".sentigraph/train/best"),
        help="folder that `train` wrote",
    )
    parser.add_argument(
        "--out", type=Path, default=Path(".sentigraph/export"), help="folder of the two bundles"
    )
    parser.add_argument("--name", default="sentiment", help="name of the bundle")
    parser.add_argument(
        "--min-agreement",
        type=float,
        default=MIN_AGREEMENT,
        help="share of texts whose label INT8 must keep",
    )
    add_tracking_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def main(args: argparse.Namespace) -> int:
    """Runs the step and prints both gates' figures; returns the exit status."""
    table = read_table(args.data)
    texts = [row.text for row in table.of("validation")]
    calibration = [row.text for row in table.of("train")[:CALIBRATION_TEXTS]]
    model, spec, tokenizer = load_classifier(args.checkpoint)
    provenance = read_provenance(args.checkpoint)
    with open_run(
        args.tracking_uri,
        args.artifact_root,
        "export",
        {"dataset_digest": table.digest, "checkpoint": str(args.checkpoint)},
    ) as run:
        exported = export_bundles(
            model,
            spec,
            tokenizer,
            args.out,
            args.name,
            texts=texts,
            calibration=calibration,
            provenance=provenance,
            min_agreement=args.min_agreement,
        )
        figures = figures_of(exported)
        run.metrics(figures)
        (args.out / FIGURES).write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures) if args.json else describe(exported))
    return 0


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
) -> Exported:
    """Converts, compares and writes `out/fp32` and `out/int8`.

    Args:
        model: In evaluation mode.
        spec: Labels and limits.
        tokenizer: Truncation and padding off.
        out: Made when missing.
        name: Name of both bundles.
        texts: Real texts to compare on; FP32 on the first 256, INT8 on all.
        calibration: Representative texts from which INT8 takes its activation scales.
        provenance: Goes into both bundles, with the versions of the tools.
        tolerance: Largest allowed difference of a logit between torch and FP32.
        min_agreement: Smallest allowed share of texts with the same label in FP32 and INT8.

    Raises:
        ParityError: A conversion does not say what its source says. Its bundle is removed.
    """
    out.mkdir(parents=True, exist_ok=True)
    facts = {**provenance, **{tool: version(tool) for tool in TOOLS}, "machine": platform.machine()}
    # Beside the result and moved there after both gates: a refused export leaves the last good one.
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        work = Path(scratch)
        tokenizer.save(str(work / "tokenizer.json"))
        export_fp32(model, work / "fp32.onnx", max_tokens=spec.max_tokens)
        fp32 = ServedModel(_bundle(work, FP32, name, spec, facts))
        difference = require_equal(
            torch_logits(model, fp32.bundle, texts[:TORCH_TEXTS]),
            fp32.logits(texts[:TORCH_TEXTS]),
            tolerance,
        )
        batch_invariant = quantise_int8(
            work / "fp32.onnx", work / "int8.onnx", feeds(fp32.bundle, calibration)
        )
        int8 = ServedModel(_bundle(work, INT8, name, spec, facts, batch_invariant=batch_invariant))
        together = int8.logits(texts, BATCH_TEXTS)
        alone = int8.logits(texts, 1)
        agreement = require_agreement(fp32.logits(texts), int8.logits(texts), min_agreement)
        return Exported(
            fp32=_moved(work / FP32, out / FP32),
            int8=_moved(work / INT8, out / INT8),
            torch_difference=difference,
            agreement=agreement,
            batch_shift=batch_shift(together, alone),
        )


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


def _moved(source: Path, target: Path) -> Bundle:
    if target.exists():
        shutil.rmtree(target)
    source.rename(target)
    return open_bundle(target)


def torch_logits(model: Classifier, bundle: Bundle, texts: Sequence[str]) -> FloatArray:
    """Returns [texts, labels] float32 logits by torch, on the batches that serving would run."""
    ids, masks, orders = padded_batches(LoadedTokenizer(bundle), texts, bundle.engine.pad_id)
    batches = [
        (torch.from_numpy(rows), torch.from_numpy(mask))
        for rows, mask in zip(ids, masks, strict=True)
    ]
    result = np.empty((len(texts), len(bundle.labels)), dtype=np.float32)
    for order, logits in zip(orders, logits_of(model, batches), strict=True):
        result[order] = logits.numpy()
    return result


def figures_of(exported: Exported) -> dict[str, float]:
    """Returns the gates' figures and the sizes of both graphs in bytes, by name."""
    return {
        "torch_difference": exported.torch_difference,
        "int8_agreement": exported.agreement.same_label,
        "int8_mean_shift": exported.agreement.mean_shift,
        "batch_shift_median": exported.batch_shift.median,
        "batch_shift_p99": exported.batch_shift.p99,
        "batch_flips": exported.batch_shift.flips,
        "fp32_bytes": float(exported.fp32.files["model.onnx"][1]),
        "int8_bytes": float(exported.int8.files["model.onnx"][1]),
    }


def describe(exported: Exported) -> str:
    """Returns the result in three lines for people."""
    figures = figures_of(exported)
    return (
        f"FP32 {exported.fp32.directory}: {figures['fp32_bytes'] / 1e6:.1f} MB, "
        f"differs from torch by at most {exported.torch_difference:.1e} in a logit\n"
        f"INT8 {exported.int8.directory}: {figures['int8_bytes'] / 1e6:.1f} MB, "
        f"same label as FP32 on {exported.agreement.same_label:.2%} "
        f"of {exported.agreement.texts} texts"
    )
