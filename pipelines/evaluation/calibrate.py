"""`sentigraph calibrate BUNDLE`: temperatures for a finished bundle, fitted on labelled texts.

For models that came by `import`; `evaluate` does it for trained ones. One temperature for softmax
and for two labels from one output, one for each label with sigmoids; values of a regression have
none. The texts must not be those that the model is judged by afterwards.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deployments.model.runner import scores_of
from pipelines.data.labelled_texts import (
    LabelledTexts,
    add_column_arguments,
    columns_of,
    read_labelled_texts,
)
from pipelines.errors import DatasetError
from pipelines.evaluation.head_truth import classes_of, sets_of
from pipelines.evaluation.metrics import binary_calibration_error, expected_calibration_error
from pipelines.evaluation.report import Calibration
from pipelines.evaluation.temperature import fit_label_temperature, fit_temperature
from pipelines.export.serving_scores import ServedModel
from registry.bundles.bundle import open_bundle, rewrite_bundle
from registry.records import Bundle, Head

Truth = npt.NDArray[np.int64] | npt.NDArray[np.bool_]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph calibrate`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of a bundle")
    parser.add_argument("--data", required=True, nargs="+", type=Path, help="labelled texts")
    parser.add_argument("--out", required=True, type=Path, help="folder of the calibrated bundle")
    add_column_arguments(parser)
    parser.add_argument("--threads", type=int, default=2, help="engine threads (default: 2)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    """Writes the calibrated bundle and prints what was fitted; returns the exit status.

    Raises:
        DatasetError: The model's scores are no probabilities, or the labels are not the model's.
    """
    bundle = open_bundle(args.bundle)
    if bundle.head.task == "regression":
        raise DatasetError(
            f"{args.bundle} gives values ({', '.join(bundle.labels[:20])}), which are no "
            "probabilities of labels: there is nothing to calibrate"
        )
    data, truth = _labelled(bundle, args)
    logits = ServedModel(bundle, threads=args.threads).logits(data.texts)
    temperature, head = fitted(bundle, logits, truth)
    made = rewrite_bundle(
        bundle, args.out, temperature=temperature, head=head, metrics=still_true(bundle)
    )
    before, after = (
        _error(scores_of(logits, one.head, one.temperature), truth, one.head)
        for one in (bundle, made)
    )
    named = dict(zip(made.labels, head.temperatures, strict=True)) if head.temperatures else None
    shown: float | dict[str, float] = named or temperature
    if args.json:
        facts = {"temperature": shown, "ece_before": before, "ece": after, "digest": made.digest}
        print(json.dumps(facts, ensure_ascii=False))
    else:
        pairs = named.items() if named else [("temperature", temperature)]
        print("\n".join(f"{name}: {value:.4f}" for name, value in pairs))
        print(f"calibration error on these texts: {before:.4f}, then {after:.4f}")
        print(f"{args.out}: digest {made.digest[:12]}")
    return 0


def fitted(bundle: Bundle, logits: npt.NDArray[np.float32], truth: Truth) -> tuple[float, Head]:
    """Returns the bundle's temperature and head that make ``truth`` likeliest.

    Args:
        bundle: Its head says what the outputs are.
        logits: [texts, outputs].
        truth: [texts] classes, or [texts, labels] of a multi-label model.
    """
    head = bundle.head
    if head.task == "multi_label":
        columns = zip(logits.T, truth.T, strict=True)
        found = tuple(fit_label_temperature(each, right > 0) for each, right in columns)
        return 1.0, replace(head, temperatures=found)
    if head.activation == "sigmoid":
        return fit_label_temperature(logits[:, 0], truth == 1), head
    return fit_temperature(logits, truth.astype(np.int64)), head


def still_true(bundle: Bundle) -> dict[str, float]:
    """Returns the bundle's figures that another temperature leaves as they are.

    Labels stay with softmax, so those of scores go and those of labels stay. A sigmoid decides
    by thresholds, which scores may pass: there all go.
    """
    if bundle.head.activation != "softmax":
        return {}
    of_scores = {field.name for field in fields(Calibration)}
    return {name: value for name, value in bundle.metrics.items() if name not in of_scores}


def _labelled(bundle: Bundle, args: argparse.Namespace) -> tuple[LabelledTexts, Truth]:
    columns = columns_of(args)
    if bundle.head.task == "multi_label":
        data = read_labelled_texts(args.data, replace(columns, names=None))
        return data, sets_of(data, columns.label, bundle.labels, columns.names or {})
    data = read_labelled_texts(args.data, columns)
    return data, classes_of(data, bundle.labels)


def _error(scores: npt.NDArray[np.float32], truth: Truth, head: Head) -> float:
    if head.task == "multi_label":
        columns = zip(scores.T, truth.T, strict=True)
        return float(np.mean([binary_calibration_error(p, right > 0) for p, right in columns]))
    return expected_calibration_error(scores, truth.astype(np.int64))
