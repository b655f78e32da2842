"""`sentigraph models evaluate`: measures a version on labelled texts and records the figures.

With the tokenizer and engine that serve it, in the temperature of its bundle. The same figures are
those of `sentigraph evaluate`, the pipeline's step; models with several labels a text, or with
values, have figures of their own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cli.models.show import as_table
from pipelines.data.labelled_texts import (
    Columns,
    LabelledTexts,
    add_column_arguments,
    columns_of,
    read_labelled_texts,
)
from pipelines.errors import DatasetError
from registry.model_registry import ModelRegistry
from registry.records import Bundle

EXAMPLES = """examples:
  sentigraph models evaluate sentiment 2 --data reviews.csv --dataset reviews
  sentigraph models evaluate sentiment 2 --data march.csv april.csv --dataset spring --by shop
  sentigraph models evaluate sentiment 2 --data export.csv --text-column review \\
      --label-column stars --map 0=NEGATIVE,1=POSITIVE --mistakes wrong.csv"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options besides those of every sub-verb."""
    parser.epilog = EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--data",
        required=True,
        nargs="+",
        type=Path,
        help="CSV, JSON lines or Parquet files of texts and labels",
    )
    parser.add_argument("--dataset", help="name of the dataset (default: the file's)")
    add_column_arguments(parser)
    parser.add_argument(
        "--by",
        action="append",
        default=[],
        metavar="COLUMN",
        help="figures for each value of this column as well; may be repeated",
    )
    parser.add_argument(
        "--mistakes", type=Path, metavar="FILE", help="write the wrong answers there, as CSV"
    )
    parser.add_argument("--threads", type=int, default=2, help="engine threads (default: 2)")


def evaluate_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """Measures a version on labelled texts and records the figures."""
    version = registry.catalog.version(args.name, args.version)
    columns = columns_of(args)
    single = version.task == "single_label"
    if not single and (args.by or args.mistakes):
        raise DatasetError(
            f"version {version.version} is a {version.task.replace('_', '-')} model: --by and "
            "--mistakes are for models with one label a text"
        )
    # A cell with several labels is not one of the names.
    data = read_labelled_texts(args.data, columns if single else replace(columns, names=None))
    with tempfile.TemporaryDirectory(prefix="sentigraph-evaluate-") as scratch:
        bundle = registry.store.fetch(version, Path(scratch))
        found = _single(bundle, data, args) if single else _other(bundle, data, columns, args)
    pairs = zip(data.texts, data.labels, strict=True)
    digest = hashlib.sha256("\n".join(sorted(map(json.dumps, pairs))).encode()).hexdigest()
    name = args.dataset or "+".join(dict.fromkeys(path.name for path in args.data))[:255]
    made = registry.evaluations.add(
        version,
        name="sentigraph models evaluate",
        dataset=name,
        dataset_digest=digest,
        metrics=found.metrics,
        metadata={"texts": len(data.texts), "files": [path.name for path in args.data][:20]},
        actor=args.actor,
        report={"dataset": name, **found.report},
    )
    facts = {"id": made.id, "dataset": name, "dataset_digest": digest, "metrics": found.metrics}
    if args.json:
        shown = {key: value for key, value in found.report.items() if key != "cost"}
        print(json.dumps({**facts, **shown}, ensure_ascii=False))
    else:
        print("\n\n".join(found.tables))
    return 0


@dataclass(frozen=True, slots=True)
class _Found:
    """What was measured: figures by name, all of them, and tables for people."""

    metrics: dict[str, float]
    report: dict[str, Any]
    tables: list[str]


def _single(bundle: Bundle, data: LabelledTexts, args: argparse.Namespace) -> _Found:
    # Engines take half a second to import, and the other actions need none.
    from pipelines.evaluation.figures import flat, measure  # noqa: PLC0415
    from pipelines.evaluation.head_truth import classes_of  # noqa: PLC0415
    from pipelines.evaluation.mistakes import write_mistakes  # noqa: PLC0415

    truth = classes_of(data, bundle.labels)
    slices = {name: data.column(name) for name in args.by}
    scores, cost = _scored(bundle, data, args)
    figures = measure(
        truth, scores.argmax(axis=1), bundle.labels, slices=slices, probabilities=scores
    )
    if args.mistakes is not None:
        wrong = write_mistakes(args.mistakes, data, bundle.labels, scores)
        print(f"{args.mistakes}: {wrong} wrong answers, surest first", file=sys.stderr)
    report = {**asdict(figures), "cost": cost}
    return _Found(flat(figures) | cost, report, _tables(figures, cost))


def _other(
    bundle: Bundle, data: LabelledTexts, columns: Columns, args: argparse.Namespace
) -> _Found:
    """Several labels a text, or values."""
    from pipelines.evaluation.head_figures import of_labels, of_values  # noqa: PLC0415
    from pipelines.evaluation.head_truth import sets_of, values_of  # noqa: PLC0415

    labels = bundle.labels
    if bundle.head.task == "multi_label":
        sets = sets_of(data, columns.label, labels, columns.names or {})
        scores, cost = _scored(bundle, data, args)
        metrics = of_labels(sets, scores, labels, bundle.head) | cost
    else:
        values = values_of(data, columns.label, labels)
        scores, cost = _scored(bundle, data, args)
        metrics = of_values(values, scores, labels) | cost
    rows = [[name.replace("_", " ", 1), f"{value:.4g}"] for name, value in metrics.items()]
    return _Found(metrics, {"cost": cost}, [as_table([["figure", "value"], *rows])])


def _scored(
    bundle: Bundle, data: LabelledTexts, args: argparse.Namespace
) -> tuple[npt.NDArray[np.float64], dict[str, float]]:
    """Scores as served, and what a text costs."""
    from deployments.model.runner import scores_of  # noqa: PLC0415
    from pipelines.evaluation.cost import cost_of  # noqa: PLC0415
    from pipelines.export.serving_scores import ServedModel  # noqa: PLC0415

    logits = ServedModel(bundle, threads=args.threads).logits(data.texts)
    scores = scores_of(logits, bundle.head, bundle.temperature).astype(np.float64)
    return scores, cost_of(bundle, data.texts)


def _tables(figures: Any, cost: dict[str, float]) -> list[str]:
    from pipelines.evaluation.tables import (  # noqa: PLC0415
        confusion_table,
        label_table,
        slice_table,
        summary_table,
    )

    summary = summary_table(figures)
    summary += [[name.replace("_", " "), f"{value:.4g}", ""] for name, value in cost.items()]
    tables = [summary, label_table(figures)]
    if len(figures.labels) <= 12:
        tables.append(confusion_table(figures))
    if figures.slices:
        tables.append(slice_table(figures))
    return [as_table(table) for table in tables]
