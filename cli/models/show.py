"""What `sentigraph models` shows: models, versions, comparisons, the audit."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from cli.models.common_datasets import also_measured, no_common_dataset
from operations.errors import OperationError
from registry.backend.audit_ledger import champion_at
from registry.catalog.compare import (
    ACCURACIES,
    Figure,
    compare_descriptions,
    compare_figures,
    shown_figures,
)
from registry.catalog.evaluations import logged_model_id
from registry.catalog.metadata import label_of, metadata_of
from registry.model_registry import ModelRegistry

_HEADLINES = (*ACCURACIES, "macro_f1", "ece", "nll", "brier", "texts")
_TIMES = {
    "at_s": "at",
    "since_s": "since",
    "created_s": "created_at",
    "updated_s": "updated_at",
    "measured_s": "measured_at",
}


def list_models(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """All models and who holds which alias."""
    models = registry.catalog.models()
    if not models:
        print(
            "the registry is empty: `sentigraph serve` registers the bundled model, "
            "`sentigraph models import BUNDLE` one of yours",
            file=sys.stderr,
        )
    figures = registry.evaluations.measurements_by_model()
    rows = [["model", "champion", "challenger", "shadow", "of the champion", "dataset"]]
    found = []
    for model in models:
        champion = model.aliases.get("champion")
        shown: Figure | None = None
        if champion is not None:
            version = registry.store.resolve(model.name, champion)
            measured = figures.get(logged_model_id(version) or "", ())
            dataset = model.policy.shown_dataset
            shown = shown_figures([(version, measured)], dataset=dataset).get(champion)
        slots = [str(model.aliases.get(a, "")) for a in ("champion", "challenger", "shadow")]
        what = [f"{shown.metric} {shown.text()}", shown.dataset] if shown else ["", ""]
        rows.append([model.name, *slots, *what])
        figure = asdict(shown) if shown else None
        found.append({"name": model.name, "aliases": dict(model.aliases), "figure": figure})
    return show(args, found, rows)


def show_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """One model with its versions and their newest figures."""
    policy = registry.catalog.model(args.name).policy
    registry.lifecycle.state(args.name)
    versions = [
        (version, registry.evaluations.measurements(version))
        for version in registry.store.list_versions(args.name)
    ]
    metrics = (args.metric,) if args.metric else ACCURACIES
    dataset = args.dataset or policy.shown_dataset
    shown = shown_figures(versions, dataset=dataset, metrics=metrics)
    title = next((f"{f.metric} on {f.dataset or 'its own data'}" for f in shown.values()), "")
    if not shown:
        title = f"{metrics[0]} on {dataset or 'any dataset'}"
    rows = [["number", "label", "stage", "aliases", "digest", "registered", title]]
    found = []
    for version, measured in versions:
        figure = shown.get(version.version)
        rows.append(
            [
                str(version.version),
                label_of(version),
                version.stage,
                " ".join(version.aliases),
                version.digest[:12],
                when(version.created_s),
                figure.text() if figure else "not measured",
            ]
        )
        metrics_of = [asdict(m) for m in measured]
        one = asdict(figure) if figure else None
        found.append({**asdict(version), "figure": one, "metrics": metrics_of})
    return show(args, found, rows)


def trend_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """One metric on one dataset over the versions."""
    policy = registry.catalog.model(args.name).policy
    versions = [
        (version, registry.evaluations.measurements(version))
        for version in registry.store.list_versions(args.name)
    ]
    metrics = (args.metric,) if args.metric else ACCURACIES
    shown = shown_figures(versions, dataset=args.dataset or policy.shown_dataset, metrics=metrics)
    rows = [["number", "label", "registered", "metric", "dataset", "value"]]
    found = []
    for version, _ in versions:
        if (figure := shown.get(version.version)) is None:
            continue
        rows.append(
            [
                str(version.version),
                label_of(version),
                when(version.created_s),
                figure.metric,
                figure.dataset,
                figure.text(),
            ]
        )
        found.append({"version": version.version, **asdict(figure)})
    return show(args, found, rows)


def compare_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """Two versions: figures on equal datasets, and what else differs."""
    a, b = (registry.catalog.version(args.name, reference) for reference in (args.a, args.b))
    dataset = args.dataset or registry.catalog.model(args.name).policy.shown_dataset
    mine, theirs = (registry.evaluations.measurements(version) for version in (a, b))
    figures, without = compare_figures(mine, theirs, dataset)
    if args.dataset:
        figures = [figure for figure in figures if figure.dataset == args.dataset]
    figures.sort(key=lambda f: (f.dataset != dataset, f.dataset, _rank(f.metric)))
    differing = compare_descriptions((a, metadata_of(a)), (b, metadata_of(b)))
    rows = [["metric", "dataset", label_of(a), label_of(b), "difference"]]
    rows += [
        [
            f.metric,
            f.dataset,
            Figure(f.metric, f.a, f.dataset, f.dataset_digest, f.interval_a).text(),
            Figure(f.metric, f.b, f.dataset, f.dataset_digest, f.interval_b).text(),
            f"{f.difference:+.4g}",
        ]
        for f in figures
    ]
    if not figures:
        print(
            *no_common_dataset((a, mine), (b, theirs), args.dataset or ""),
            sep="\n",
            file=sys.stderr,
        )
    elif without and not args.dataset:
        print(also_measured((a, mine), (b, theirs), without), file=sys.stderr)
    if differing["labels"]["same"]:
        rows.append(["labels", "", "same", "", ""])
    else:
        only = (", ".join(differing["labels"][f"only_{side}"][:20]) for side in "ab")
        rows.insert(1, ["labels differ", "", *(f"only here: {one or 'none'}" for one in only), ""])
    found = {"metrics": [asdict(f) for f in figures], "without": without, **differing}
    return show(args, found, rows)


def _rank(metric: str) -> tuple[int, str]:
    """What decides first, then by name."""
    return (_HEADLINES.index(metric) if metric in _HEADLINES else len(_HEADLINES), metric)


def audit_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """Audit entries, newest first; or who was champion at a time."""
    events = registry.ledger.events(args.name)
    if not events:
        registry.catalog.model(args.name)
    if args.at:
        event = champion_at(events, _moment(args.at))
        version = event.after["aliases"]["champion"] if event else None
        rows = [["champion", "since", "by", "digest"]]
        if event is None:
            print(f"model {args.name!r} had no champion at {args.at}", file=sys.stderr)
        else:
            rows.append([str(version), when(event.at_s), event.actor, event.digest[:12]])
        return show(args, {"version": version, "event": asdict(event) if event else None}, rows)
    newest = events[::-1][: args.limit]
    rows = [["entry", "when", "what", "version", "who", "why"]]
    rows += [
        [str(e.seq), when(e.at_s), e.action, str(e.version or ""), e.actor, e.reason]
        for e in newest
    ]
    return show(args, [asdict(event) for event in newest], rows)


def show(args: argparse.Namespace, found: Any, rows: Sequence[Sequence[str]]) -> int:
    """Prints a table, or the same facts as JSON; returns the exit status."""
    if args.json:
        print(json.dumps(_with_times(found), ensure_ascii=False))
    elif len(rows) > 1:
        print(as_table(rows))
    else:
        print("nothing", file=sys.stderr)
    return 0


def _with_times(found: Any) -> Any:
    """The same facts with ISO times, under REST's names, where records have Unix seconds."""
    if isinstance(found, dict):
        return {
            _TIMES.get(name, name): when(value) if name in _TIMES else _with_times(value)
            for name, value in found.items()
        }
    return [_with_times(one) for one in found] if isinstance(found, list | tuple) else found


def as_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def when(seconds: float) -> str:
    """Unix seconds as an ISO 8601 time, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise OperationError(f"{text!r} is not a time like 2026-01-31T12:00") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
