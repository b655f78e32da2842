"""All five steps with one command: data, train, export, evaluate, register.

`make train` runs it; the bundled model was made by it. `--input` takes one's own texts, `--from
sentiment@champion` goes on from a registered version. Each step gets the options that it would be
given alone, so a step can be repeated by hand from what the ones before it left in the work folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from pipelines import register
from pipelines.data import prepare as data
from pipelines.data.table import read_table
from pipelines.errors import PipelineError
from pipelines.evaluation import evaluate
from pipelines.export import export
from pipelines.progress import say
from pipelines.tracking import add_tracking_arguments
from pipelines.training import train
from pipelines.training.recipe_arguments import add_recipe_arguments, recipe_options
from pipelines.training.tiny_encoder import write_tiny_base

QUICK_TEXTS = 2000
# A model that has learnt next to nothing scores near one half, where rounding moves labels.
QUICK_OPTIONS = {
    train: ["--epochs", "6", "--patience", "6", "--learning-rate", "2e-3", "--max-tokens", "64"],
    export: ["--min-agreement", "0.9"],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph pipeline`."""
    data.add_input_arguments(parser)
    add_recipe_arguments(parser)
    parser.add_argument(
        "--name", default="sentiment", help="name of the bundle and of the registered model"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(".sentigraph/models"),
        help="folder of the bundle and its card (default: .sentigraph/models)",
    )
    parser.add_argument("--card", type=Path, help="model card to write (default: OUT/NAME.md)")
    parser.add_argument(
        "--limits", type=Path, help="Markdown file: what the card says of the model's limits"
    )
    parser.add_argument(
        "--work", type=Path, default=Path(".sentigraph"), help="folder of everything in between"
    )
    parser.add_argument(
        "--threads", type=int, help="CPU threads of the training (default: all cores)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a trial: few texts and a tiny random base"
    )
    add_tracking_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Runs the five steps in order; returns the exit status of the first that fails, else 0."""
    work: Path = args.work
    tracking = ["--tracking-uri", args.tracking_uri, "--artifact-root", args.artifact_root]
    folders = {step: str(work / step) for step in ("data", "train", "export", "cache")}
    bundle = args.out / args.name
    card = args.card or args.out / f"{args.name}.md"
    for path in (bundle, card):
        say(f"{'overwrites' if path.exists() else 'writes'} {path}")

    wanted = ["--out", folders["data"], "--cache", folders["cache"]]
    wanted += data.input_options(args)
    wanted += ["--limit", str(QUICK_TEXTS)] if args.quick else []
    _run(data, wanted, quick=args.quick)

    wanted = [
        "--data",
        folders["data"],
        "--out",
        folders["train"],
        "--cache",
        folders["cache"],
        *tracking,
    ]
    wanted += recipe_options(args)
    wanted += ["--base", _tiny_base(work)] if args.quick and not args.source else []
    wanted += ["--threads", str(args.threads)] if args.threads else []
    _run(train, wanted, quick=args.quick)

    best = str(Path(folders["train"]) / train.BEST)
    wanted = [
        "--data",
        folders["data"],
        "--checkpoint",
        best,
        "--out",
        folders["export"],
        "--name",
        args.name,
        *tracking,
    ]
    _run(export, wanted, quick=args.quick)
    wanted = [
        "--data",
        folders["data"],
        "--export",
        folders["export"],
        "--out",
        str(bundle),
        "--card",
        str(card),
        "--champion-of",
        args.name,
        *tracking,
    ]
    wanted += ["--limits", str(args.limits)] if args.limits else []
    _run(evaluate, wanted, quick=args.quick)
    _run(register, ["--bundle", str(bundle), "--name", args.name, *tracking], quick=args.quick)
    return 0


def _run(step: ModuleType, options: Sequence[str], *, quick: bool) -> None:
    parser = argparse.ArgumentParser(prog=step.__name__)
    step.add_arguments(parser)
    say(f"── {step.__name__.rpartition('.')[2]}")
    extra = QUICK_OPTIONS.get(step, []) if quick else []
    status: int = step.main(parser.parse_args([*extra, *options]))
    if status != 0:
        raise PipelineError(f"{step.__name__} ended with status {status}")


def _tiny_base(work: Path) -> str:
    texts = (row.text for row in read_table(work / "data").of("train", labelled=False))
    return str(write_tiny_base(work / "tiny", texts))
