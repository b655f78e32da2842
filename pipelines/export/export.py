"""Third step: from the trained classifier to two ONNX bundles, FP32 and INT8.

INT8 takes its activation scales from training texts, so it never saw the texts it is judged on.

Each conversion is judged on real texts before anything is written: `parity` holds the gates. The
bundles carry temperature 1; `evaluate` comes next, fits it and writes the bundle that is served.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pipelines.data.table import read_table
from pipelines.export.bundles import Exported, export_bundles
from pipelines.export.parity import MIN_AGREEMENT
from pipelines.tracking import add_tracking_arguments, open_run
from pipelines.training.classifier import load_classifier
from pipelines.training.provenance import read_provenance

FIGURES = "export.json"
# The ranges of the bundled model do not widen after some 100 texts.
CALIBRATION_TEXTS = 256


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


def figures_of(exported: Exported) -> dict[str, float]:
    """Returns the gates' figures and the sizes of the graphs in bytes, by name."""
    figures = {
        "torch_difference": exported.torch_difference,
        "fp32_bytes": float(exported.fp32.files["model.onnx"][1]),
    }
    if (int8 := exported.int8) is not None:
        figures |= {
            "int8_agreement": int8.agreement.same_label,
            "int8_mean_shift": int8.agreement.mean_shift,
            "batch_shift_median": int8.batch_shift.median,
            "batch_shift_p99": int8.batch_shift.p99,
            "batch_flips": int8.batch_shift.flips,
            "int8_bytes": float(int8.bundle.files["model.onnx"][1]),
        }
    return figures


def describe(exported: Exported) -> str:
    """Returns the result for people, a line for each bundle."""
    figures = figures_of(exported)
    lines = [
        f"FP32 {exported.fp32.directory}: {figures['fp32_bytes'] / 1e6:.1f} MB, "
        f"differs from torch by at most {exported.torch_difference:.1e} in a logit"
    ]
    if (int8 := exported.int8) is not None:
        lines.append(
            f"INT8 {int8.bundle.directory}: {figures['int8_bytes'] / 1e6:.1f} MB, "
            f"same label as FP32 on {int8.agreement.same_label:.2%} "
            f"of {int8.agreement.texts} texts"
        )
    return "\n".join(lines)
