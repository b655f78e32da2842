"""Fourth step: measures both bundles and two baselines on the test split, and writes the bundle
that is served.

Everything goes through the serving tokenizer and engine. The temperature is fitted on validation,
then the test split is read, once. The INT8 bundle gets its temperature and figures, and the model
card its tables. `register` comes next.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.data.everyday_texts import NEGATIVE_SENTENCES, POSITIVE_SENTENCES
from pipelines.data.table import Table, read_manifest, read_table
from pipelines.errors import DatasetError
from pipelines.evaluation.baselines import TfidfBaseline, vader_classes, vader_fits
from pipelines.evaluation.figures import metric_name
from pipelines.evaluation.model_card import Card, write_card
from pipelines.evaluation.report import (
    SystemReport,
    accuracy_table,
    as_text,
    calibrate,
    calibration_table,
    flat_metrics,
    report_system,
)
from pipelines.evaluation.shortcomings import shortcomings
from pipelines.evaluation.tables import confusion_table, label_table
from pipelines.export.bundles import FP32, INT8
from pipelines.export.export import FIGURES
from pipelines.export.parity import softmax
from pipelines.export.serving_scores import ServedModel
from pipelines.progress import say
from pipelines.tracking import add_tracking_arguments, open_run
from registry.bundles.bundle import open_bundle, rewrite_bundle
from registry.errors import ModelNotFound
from registry.model_registry import ModelRegistry
from registry.records import Bundle

PROBE = (*POSITIVE_SENTENCES, *NEGATIVE_SENTENCES)
PROBE_TRUTH = np.array([1] * len(POSITIVE_SENTENCES) + [0] * len(NEGATIVE_SENTENCES))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph evaluate`."""
    parser.add_argument(
        "--data", type=Path, default=Path(".sentigraph/data"), help="folder that `data` wrote"
    )
    parser.add_argument(
        "--export", type=Path, default=Path(".sentigraph/export"), help="folder that `export` wrote"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(".sentigraph/models/sentiment"),
        help="folder of the bundle to serve",
    )
    parser.add_argument(
        "--card",
        type=Path,
        default=Path(".sentigraph/models/sentiment.md"),
        help="model card to write",
    )
    parser.add_argument(
        "--champion-of", metavar="MODEL", help="measure this model's champion on the same texts"
    )
    parser.add_argument(
        "--limits", type=Path, help="Markdown file: what the card says of the model's limits"
    )
    parser.add_argument("--threads", type=int, default=2, help="engine threads")
    add_tracking_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def main(args: argparse.Namespace) -> int:
    """Runs the step and prints the tables; returns the exit status."""
    table = read_table(args.data)
    fp32, int8 = open_bundle(args.export / FP32), open_bundle(args.export / INT8)
    with open_run(
        args.tracking_uri,
        args.artifact_root,
        "evaluate",
        {"dataset_digest": table.digest, "bundle": int8.digest},
    ) as run:
        reports = [
            *(
                measure_bundle(f"{b.name} {b.engine.precision.upper()}", b, table, args.threads)
                for b in (int8, fp32)
            ),
            *measure_champion(args, table),
            *measure_baselines(table),
        ]
        for report in reports:
            prefix = metric_name(report.system.replace(" ", "_").replace("+", "and"))
            run.metrics({f"{prefix}.{name}": value for name, value in flat_metrics(report).items()})
        conversion: dict[str, float] = json.loads((args.export / FIGURES).read_text())
        served = publish(int8, reports[0], conversion, args.out)
        limits = _text(args.limits) if args.limits else ""
        manifest = read_manifest(args.data)
        card = Card(served, reports, conversion, manifest, table, limits)
        write_card(args.card, card)
        run.file(args.card)
    if args.json:
        print(json.dumps([asdict(report) for report in reports]))
    else:
        figures = reports[0].figures
        tables = [accuracy_table(reports), calibration_table(reports)]
        tables += [label_table(figures), confusion_table(figures)]
        print(*map(as_text, tables), sep="\n\n")
        print(f"\n{served.directory}: digest {served.digest[:12]}; card {args.card}")
    said = [*shortcomings(reports[0].figures, served.provenance), manifest.dropped()]
    for one in filter(None, said):
        say(f"note: {one}")
    return 0


def measure_bundle(system: str, bundle: Bundle, table: Table, threads: int) -> SystemReport:
    """Scores validation, test and probe with the serving tokenizer and engine.

    A bundle that already carries a temperature keeps it; one with exactly 1 gets it fitted on
    validation.
    """
    model = ServedModel(bundle, threads=threads)
    validation, truth_before = _texts_and_truth(table, "validation")
    test, truth = _texts_and_truth(table, "test")
    logits = model.logits(test)
    kept = None if bundle.temperature == 1.0 else bundle.temperature
    calibration = calibrate(model.logits(validation), truth_before, logits, truth, kept)
    predicted = logits.argmax(axis=1)
    probe = model.logits(PROBE).argmax(axis=1) == PROBE_TRUTH if vader_fits(table.labels) else None
    return report_system(
        system,
        truth=truth,
        predicted=predicted,
        domains=[row.domain for row in table.of("test")],
        labels=table.labels,
        probe_hits=probe,
        calibration=calibration,
        probabilities=softmax(logits, calibration.temperature),
    )


def measure_champion(args: argparse.Namespace, table: Table) -> list[SystemReport]:
    """Scores the present champion on the same splits; nothing where there is none to compare.

    Its training texts may be among the test texts of the new split; the card says so.
    """
    if not args.champion_of:
        return []
    registry = ModelRegistry(args.tracking_uri, args.artifact_root)
    try:
        version = registry.store.resolve(args.champion_of, "champion")
    except ModelNotFound:
        return []
    if version.labels != table.labels:
        say(f"champion {version.version} has other labels: {', '.join(version.labels[:20])}")
        return []
    with tempfile.TemporaryDirectory(prefix="sentigraph-champion-") as scratch:
        bundle = registry.store.fetch(version, Path(scratch))
        name = f"champion (version {version.version})"
        return [measure_bundle(name, bundle, table, args.threads)]


def measure_baselines(table: Table) -> list[SystemReport]:
    """Scores TF-IDF with logistic regression, and VADER where the classes are its own."""
    validation, truth_before = _texts_and_truth(table, "validation")
    test, truth = _texts_and_truth(table, "test")
    domains = [row.domain for row in table.of("test")]
    linear = TfidfBaseline(table.of("train"), table.labels)
    logits = linear.logits(test)
    polar = vader_fits(table.labels)
    calibration = calibrate(linear.logits(validation), truth_before, logits, truth)
    reports = [
        report_system(
            "TF-IDF + LR",
            truth=truth,
            predicted=logits.argmax(axis=1),
            domains=domains,
            labels=table.labels,
            probe_hits=linear.logits(PROBE).argmax(axis=1) == PROBE_TRUTH if polar else None,
            calibration=calibration,
            probabilities=softmax(logits, calibration.temperature),
        )
    ]
    if polar:
        reports.append(
            report_system(
                "VADER",
                truth=truth,
                predicted=vader_classes(test),
                domains=domains,
                labels=table.labels,
                probe_hits=vader_classes(PROBE) == PROBE_TRUTH,
                calibration=None,
            )
        )
    return reports


def publish(
    bundle: Bundle, report: SystemReport, conversion: dict[str, float], out: Path
) -> Bundle:
    """Writes the bundle again with the fitted temperature and its figures."""
    temperature = 1.0 if report.calibration is None else report.calibration.temperature
    metrics = {**flat_metrics(report), "int8_agreement": conversion["int8_agreement"]}
    return rewrite_bundle(bundle, out, temperature=temperature, metrics=metrics)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from error


def _texts_and_truth(table: Table, split: str) -> tuple[list[str], npt.NDArray[np.int64]]:
    rows = table.of(split)
    truth = np.array([table.labels.index(str(row.label)) for row in rows], dtype=np.int64)
    return [row.text for row in rows], truth
