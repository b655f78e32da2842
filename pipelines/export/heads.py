"""What a finished classifier's outputs mean: from its config.json, or as the user says.

Without options it is what the library's own pipeline computes. Used by `finished_classifier`;
nothing of the weights is read for it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from transformers import PretrainedConfig

from pipelines.errors import CheckpointError
from registry.bundles.manifest import ACTIVATIONS
from registry.records import Activation, Head, Task

DEFAULT_THRESHOLD = 0.5
_TASKS: dict[str | None, Task] = {
    None: "single_label",
    "single_label_classification": "single_label",
    "multi_label_classification": "multi_label",
    "regression": "regression",
}
# How sentence-transformers names the function behind a cross-encoder's output.
_FUNCTIONS: dict[str, Activation] = {"Sigmoid": "sigmoid", "Identity": "none"}


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """What the user says of the outputs; what is None the files decide.

    Attributes:
        task: What the scores mean.
        activation: From outputs to scores.
        binary: Names of the two classes of a classifier with one output, the second one's score
            being the output's sigmoid.
        thresholds: `SCORE` for all labels of a multi-label model, or `LABEL=SCORE` for one.
    """

    task: Task | None = None
    activation: Activation | None = None
    binary: tuple[str, str] | None = None
    thresholds: Sequence[str] = ()


def add_head_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "--task",
        choices=get_args(Task),
        help="what the outputs mean: one label of several, labels each by itself, or values "
        "(default: problem_type of config.json)",
    )
    parser.add_argument(
        "--activation",
        choices=get_args(Activation),
        help="from outputs to scores (default: as the library's own pipeline)",
    )
    parser.add_argument(
        "--binary",
        nargs=2,
        metavar=("NO", "YES"),
        help="classes of a classifier with one output; the sigmoid of it is the score of YES",
    )
    parser.add_argument(
        "--threshold",
        action="append",
        default=[],
        metavar="[LABEL=]SCORE",
        help="score from which a label of a multi-label model applies; may be repeated "
        f"(default: {DEFAULT_THRESHOLD})",
    )


def head_options(args: argparse.Namespace) -> HeadOptions:
    """The options that were given."""
    binary = tuple(args.binary) if args.binary else None
    return HeadOptions(args.task, args.activation, binary, args.threshold)


def head_of(
    name: str,
    config: PretrainedConfig,
    raw: Mapping[str, Any],
    labels: Sequence[str],
    options: HeadOptions,
) -> tuple[tuple[str, ...], Head]:
    """Labels and head of a model with one output for each of ``labels``.

    Raises:
        CheckpointError: The files contradict themselves or the options.
    """
    if options.binary is not None:
        return _binary(name, labels, options)
    task = options.task or _task(name, config.problem_type, len(labels))
    activation = options.activation or _activation(task, config.problem_type, raw, len(labels))
    if activation not in ACTIVATIONS[task] or (task, activation) == ("single_label", "sigmoid"):
        raise CheckpointError(
            f"{name}: {task} outputs become scores by "
            f"{' or '.join(ACTIVATIONS[task]) if task != 'single_label' else 'softmax'}, not by "
            f"{activation}; --task says what the outputs mean, --binary NO YES names the two "
            "classes of one output"
        )
    if task == "single_label" and len(labels) == 1:
        raise CheckpointError(
            f"{name}: has one output, which cannot be one label of several; --binary NO YES names "
            "its two classes"
        )
    _check_function(name, config, task, activation, options)
    thresholds = _thresholds(name, labels, options.thresholds, task)
    return tuple(labels), Head(task, activation, thresholds)


def _binary(name: str, labels: Sequence[str], options: HeadOptions) -> tuple[tuple[str, ...], Head]:
    assert options.binary is not None
    low, high = options.binary
    if len(labels) != 1:
        raise CheckpointError(
            f"{name}: --binary is for a classifier with one output; this one has {len(labels)}"
        )
    if low == high:
        raise CheckpointError(f"{name}: --binary gives {low!r} to both classes")
    if options.task not in (None, "single_label") or options.activation not in (None, "sigmoid"):
        raise CheckpointError(f"{name}: --binary is a single_label model with sigmoid")
    _thresholds(name, labels, options.thresholds, "single_label")
    return (low, high), Head("single_label", "sigmoid")


def _task(name: str, problem_type: str | None, outputs: int) -> Task:
    if problem_type not in _TASKS:
        raise CheckpointError(
            f"{name}: problem_type {problem_type!r} is not known; --task says what the outputs mean"
        )
    task = _TASKS[problem_type]
    return "regression" if outputs == 1 and task == "single_label" else task


def _activation(
    task: Task, problem_type: str | None, raw: Mapping[str, Any], outputs: int
) -> Activation:
    if task != "regression":
        return "softmax" if task == "single_label" else "sigmoid"
    named = raw.get("sentence_transformers")
    function = named.get("activation_fn") if isinstance(named, dict) else None
    function = function or raw.get("sbert_ce_default_activation_function") or ""
    if (found := _FUNCTIONS.get(str(function).rpartition(".")[2])) is not None:
        return found
    return "none" if problem_type == "regression" or outputs > 1 else "sigmoid"


def _check_function(
    name: str,
    config: PretrainedConfig,
    task: Task,
    activation: Activation,
    options: HeadOptions,
) -> None:
    asked = getattr(config, "function_to_apply", None)
    if asked in (None, "default", activation) or options.task or options.activation:
        return
    raise CheckpointError(
        f"{name}: config.json asks for {asked!r} on the outputs (function_to_apply), which are "
        f"{task} with {activation}; --task and --activation say what is right"
    )


def _thresholds(
    name: str, labels: Sequence[str], given: Sequence[str], task: Task
) -> tuple[float, ...]:
    if task != "multi_label":
        if given:
            raise CheckpointError(f"{name}: --threshold is for multi-label models, this is {task}")
        return ()
    found = dict.fromkeys(labels, DEFAULT_THRESHOLD)
    for text in given:
        label, equals, score = text.rpartition("=")
        if equals and label not in found:
            raise CheckpointError(f"{name}: --threshold {text}: no such label")
        try:
            value = float(score)
        except ValueError:
            value = -1
        if not 0 <= value <= 1:
            raise CheckpointError(f"{name}: --threshold {text}: a score is between 0 and 1")
        found |= {label: value} if equals else dict.fromkeys(labels, value)
    return tuple(found.values())
