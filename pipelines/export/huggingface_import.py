"""Turns a finished Hugging Face classifier into a bundle, without training: the verb `import`.

Labels come from the model's own id2label, whatever their number. Weights must be safetensors and no
code of the author is run. The two gates of `export` hold here too, on built-in sentences or on the
user's texts; INT8 takes its activation scales from the same. `register` comes next.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pipelines.data.everyday_texts import NEGATIVE_SENTENCES, POSITIVE_SENTENCES
from pipelines.errors import DatasetError
from pipelines.export.export import describe, export_bundles, figures_of
from pipelines.export.parity import MIN_AGREEMENT
from pipelines.training.pretrained import open_pretrained, weights_digest

MAX_TEXTS = 2_000
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
        help="folder of the two bundles, fp32 and int8",
    )
    parser.add_argument("--name", required=True, help="name of the bundle")
    parser.add_argument(
        "--max-tokens",
        type=int,
        default=512,
        help="longest text in tokens; fewer where the model has fewer positions",
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
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def main(args: argparse.Namespace) -> int:
    """Runs the step and prints both gates' figures; returns the exit status."""
    texts = _texts(args.texts)
    pretrained = open_pretrained(args.model, labels=None, max_tokens=args.max_tokens)
    facts = {
        "base": Path(args.model).name,
        "base_sha256": weights_digest(args.model),
        "kind": "imported",
    }
    exported = export_bundles(
        pretrained.model.eval(),
        pretrained.spec,
        pretrained.tokenizer,
        args.out,
        args.name,
        texts=texts,
        calibration=[*texts, *_paragraphs(texts)],
        provenance=facts,
        min_agreement=args.min_agreement,
    )
    print(json.dumps(figures_of(exported)) if args.json else describe(exported))
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
