"""`sentigraph models evaluate`: measures a version on labelled texts and records the figures.

With the tokenizer and engine that serve it, in the temperature of its bundle. The same figures are
those of `sentigraph evaluate`, the pipeline's step.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cli.models.show import as_table
from pipelines.data.labelled_texts import (
    LabelledTexts,
    add_column_arguments,
    columns_of,
    read_labelled_texts,
)
from pipelines.errors import DatasetError
from registry.model_registry import ModelRegistry
from registry.records import ModelVersion

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
    # Engines take half a second to import, and the other actions need none.
    from deployments.model.runner import scores_of  # noqa: PLC0415
    from pipelines.evaluation.cost import cost_of  # noqa: PLC0415
    from pipelines.evaluation.figures import flat, measure  # noqa: PLC0415
    from pipelines.evaluation.mistakes import write_mistakes  # noqa: PLC0415
    from pipelines.export.serving_scores import ServedModel  # noqa: PLC0415

    version = registry.catalog.version(args.name, args.version)
    data = read_labelled_texts(args.data, columns_of(args))
    _check_labels(args.data, data, version)
    slices = {name: data.column(name) for name in args.by}
    with tempfile.TemporaryDirectory(prefix="sentigraph-evaluate-") as scratch:
        bundle = registry.store.fetch(version, Path(scratch))
        if bundle.head.task != "single_label":
            raise DatasetError(
                f"version {version.version} is a {bundle.head.task.replace('_', '-')} model: "
                f"`models evaluate` measures models with one label a text; record your own figures "
                f"with POST /api/v1/models/{version.name}/versions/{version.version}/evaluations"
            )
        logits = ServedModel(bundle, threads=args.threads).logits(data.texts)
        cost = cost_of(bundle, data.texts)
    probabilities = scores_of(logits, bundle.head, bundle.temperature).astype(np.float64)
    truth = np.array([version.labels.index(label) for label in data.labels])
    predicted = probabilities.argmax(axis=1)
    figures = measure(truth, predicted, version.labels, slices=slices, probabilities=probabilities)
    metrics = flat(figures) | cost
    pairs = zip(data.texts, data.labels, strict=True)
    digest = hashlib.sha256("\n".join(sorted(map(json.dumps, pairs))).encode()).hexdigest()
    name = args.dataset or "+".join(dict.fromkeys(path.name for path in args.data))[:255]
    if args.mistakes is not None:
        wrong = write_mistakes(args.mistakes, data, version.labels, probabilities)
        print(f"{args.mistakes}: {wrong} wrong answers, surest first", file=sys.stderr)
    made = registry.evaluations.add(
        version,
        name="sentigraph models evaluate",
        dataset=name,
        dataset_digest=digest,
        metrics=metrics,
        metadata={"texts": len(data.texts), "files": [path.name for path in args.data][:20]},
        actor=args.actor,
        report={"dataset": name, **asdict(figures), "cost": cost},
    )
    found = {"id": made.id, "dataset": name, "dataset_digest": digest, "metrics": metrics}
    if args.json:
        print(json.dumps({**found, **asdict(figures)}, ensure_ascii=False))
    else:
        print("\n\n".join(_tables(figures, cost)))
    return 0


def _check_labels(paths: list[Path], data: LabelledTexts, version: ModelVersion) -> None:
    unknown = sorted(set(data.labels) - set(version.labels))
    if unknown:
        raise DatasetError(
            f"{', '.join(path.name for path in paths)}: labels {', '.join(unknown[:20])} are not "
            f"the model's, which are {', '.join(version.labels[:20])}; name them with --map "
            f"{unknown[0]}={version.labels[0]},…"
        )


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
