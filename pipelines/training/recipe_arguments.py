"""The options that decide a training run besides its data, of `train` and of `pipeline`."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace

from pipelines.training.optimiser import Recipe

FROM_RATE = 3e-5


def add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what decides a training run besides its data; `recipe_options` hands it on."""
    default = Recipe()
    parser.add_argument(
        "--base", help="Hugging Face folder or hub name (default: the pinned all-MiniLM-L6-v2)"
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="MODEL@ALIAS",
        help="go on from a registered version, such as sentiment@champion, or from a folder of "
        "`train`; its labels are the data's",
    )
    parser.add_argument("--epochs", type=int, help=f"passes at most (default: {default.epochs})")
    parser.add_argument(
        "--patience",
        type=int,
        help=f"epochs to wait for a better one (default: {default.patience})",
    )
    parser.add_argument("--batch-size", type=int, help=f"texts (default: {default.batch_size})")
    parser.add_argument(
        "--learning-rate",
        type=float,
        help=f"of the top layer (default: {default.learning_rate:g}, with --from {FROM_RATE:g})",
    )
    parser.add_argument(
        "--max-tokens",
        type=int,
        help=f"longest text in tokens (default: {default.max_tokens}, with --from the model's)",
    )
    parser.add_argument("--seed", type=int, help="of every random choice")
    parser.add_argument(
        "--class-weights",
        choices=("none", "balanced"),
        help="balanced: every label counts the same in the loss, however rare it is",
    )
    parser.add_argument(
        "--tune-thresholds",
        action="store_true",
        help="move the limits between labels to where validation's macro F1 is best",
    )


def recipe_options(args: argparse.Namespace) -> list[str]:
    """The options of ``add_recipe_arguments`` that were given, for another parser."""
    given = {
        "--base": args.base,
        "--from": args.source,
        "--epochs": args.epochs,
        "--patience": args.patience,
        "--batch-size": args.batch_size,
        "--learning-rate": args.learning_rate,
        "--max-tokens": args.max_tokens,
        "--seed": args.seed,
        "--class-weights": args.class_weights,
    }
    options = [word for name, value in given.items() if value for word in (name, str(value))]
    return [*options, *(["--tune-thresholds"] if args.tune_thresholds else [])]


def recipe_of(args: argparse.Namespace) -> Recipe:
    """The recipe that the options ask for."""
    default = Recipe(learning_rate=FROM_RATE) if args.source else Recipe()
    given = {
        field.name: value
        for field in fields(Recipe)
        if (value := getattr(args, field.name, None)) is not None
    }
    return replace(default, **given)
