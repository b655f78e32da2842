"""Turns a finished Hugging Face classifier into a bundle, without training: the verb `import`.

`finished_classifier` decides what is imported and with which limits. The two gates of `export` hold
here too, on built-in sentences or on the user's texts, and FP32 must equal the library's own
answers; INT8 takes its activation scales from the same texts. `register` comes next.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import cast

from pipelines.data.everyday_texts import NEGATIVE_SENTENCES, POSITIVE_SENTENCES
from pipelines.errors import CheckpointError, DatasetError, ParityError, QuantisationError
from pipelines.export.bundles import export_bundles
from pipelines.export.export import describe, figures_of
from pipelines.export.finished_classifier import (
    DEFAULT_MAX_TOKENS,
    MIN_TOKENS,
    Finished,
    open_finished,
)
from pipelines.export.half_precision import Precision, write_converted
from pipelines.export.heads import add_head_arguments, head_options
from pipelines.export.parity import MIN_AGREEMENT
from registry.bundles.bundle import check_name

MAX_TEXTS = 2_000
_REFUSED = {
    ("onnx", "bf16"): "ONNX Runtime computes no BF16 on a CPU; --engine torch does",
    ("torch", "both"): "PyTorch has one bundle for each precision: fp32, fp16 or bf16",
    ("torch", "int8"): "8-bit weights are served by ONNX Runtime: leave --engine torch out",
}
PRODUCTION_DEFAULT = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph import`."""
    parser.add_argument(
        "model", help=f"folder, or name on the Hugging Face hub such as {PRODUCTION_DEFAULT}"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(".sentigraph/import"),
        help="folder of the bundles: fp32, int8, fp16, torch-fp32, torch-fp16 or torch-bf16",
    )
    parser.add_argument("--name", required=True, help="name of the bundle")
    parser.add_argument(
        "--max-tokens",
        type=int,
        help="longest text in tokens; fewer where the model has fewer positions (default: the "
        f"smaller of the model's and its tokenizer's own limit, at most {DEFAULT_MAX_TOKENS})",
    )
    parser.add_argument(
        "--engine",
        choices=("onnx", "torch"),
        default="onnx",
        help="what serves it: ONNX Runtime, or PyTorch (safetensors; for GPUs, and for what has "
        "no ONNX form)",
    )
    parser.add_argument(
        "--precision",
        choices=("both", "fp32", "fp16", "bf16", "int8"),
        help="of the weights (default: ONNX makes both fp32 and int8, PyTorch fp32; int8 comes "
        "with the fp32 that it is judged by)",
    )
    parser.add_argument(
        "--texts",
        type=Path,
        help="file with one text of the model's domain per line, to calibrate INT8 and to compare "
        "on (default: built-in English sentences)",
    )
    parser.add_argument(
        "--min-agreement",
        type=float,
        default=MIN_AGREEMENT,
        help="share of sentences whose label INT8 must keep",
    )
    add_head_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def main(args: argparse.Namespace) -> int:
    """Runs the step and prints what was found, what was chosen and both gates' figures; returns the
    exit status.
    """
    check_name(args.name)
    if args.max_tokens is not None and args.max_tokens < MIN_TOKENS:
        raise CheckpointError(f"--max-tokens must be at least {MIN_TOKENS}")
    precision = args.precision or ("both" if args.engine == "onnx" else "fp32")
    if (args.engine, precision) in _REFUSED:
        raise CheckpointError(f"{args.model}: {_REFUSED[args.engine, precision]}")
    texts = _texts(args.texts)
    found = open_finished(
        args.model,
        max_tokens=args.max_tokens,
        head=head_options(args),
        padded=args.engine == "onnx",
    )
    if not args.json:
        print(found.describe(), flush=True)
    facts = {"base": Path(args.model).name, "base_sha256": found.digest, "kind": "imported"}
    if args.engine == "torch" or precision == "fp16":
        return _convert(args, found, cast("Precision", precision), texts, facts)
    try:
        exported = export_bundles(
            found.model,
            found.spec,
            found.tokenizer,
            args.out,
            args.name,
            texts=texts,
            calibration=[*texts, *_paragraphs(texts)],
            provenance=facts,
            min_agreement=args.min_agreement,
            reference=found.reference,
            with_int8=precision != "fp32",
        )
    except QuantisationError as error:
        raise QuantisationError(
            f"{args.model}: {error}; --precision fp32 imports it without INT8, and --texts "
            "calibrates on texts of the model's own domain"
        ) from error
    except ParityError as error:
        raise ParityError(f"{args.model}: {error}") from error
    report = {**figures_of(exported), "model": found.facts()}
    print(json.dumps(report, ensure_ascii=False) if args.json else describe(exported))
    return 0


def _convert(
    args: argparse.Namespace,
    found: Finished,
    precision: Precision,
    texts: list[str],
    facts: dict[str, str],
) -> int:
    try:
        made = write_converted(
            found,
            args.engine,
            precision,
            args.out,
            args.name,
            texts=texts,
            provenance=facts,
            min_agreement=args.min_agreement,
        )
    except ParityError as error:
        raise ParityError(f"{args.model}: {error}") from error
    figures = {"torch_difference": made.torch_difference, "agreement": made.agreement}
    print(
        json.dumps({**figures, "model": found.facts()}, ensure_ascii=False)
        if args.json
        else f"{args.engine} {precision} {made.bundle.directory}: differs from torch by at most "
        f"{made.torch_difference:.1e} in a logit, the same answer for {made.agreement:.2%} of texts"
    )
    return 0


def _texts(path: Path | None) -> list[str]:
    if path is None:
        return [*POSITIVE_SENTENCES, *NEGATIVE_SENTENCES]
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as UTF-8 text: {error}") from error
    texts = [line.strip() for line in lines if line.strip()][:MAX_TEXTS]
    if not texts:
        raise DatasetError(f"{path} holds no text; one per line is needed")
    return texts


def _paragraphs(texts: list[str]) -> list[str]:
    """Longer texts made of the given ones: activations of long inputs count too."""
    return [" ".join(texts[at : at + 16]) for at in range(0, len(texts), 16)]
