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

from operations.errors import OperationError
from registry.backend.audit_ledger import champion_at
from registry.catalog.compare import compare_descriptions, compare_figures
from registry.catalog.metadata import label_of, metadata_of
from registry.model_registry import ModelRegistry


def list_models(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """All models and who holds which alias."""
    models = registry.catalog.models()
    if not models:
        print(
            "the registry is empty: `sentigraph serve` registers the bundled model, "
            "`sentigraph models import BUNDLE` one of yours",
            file=sys.stderr,
        )
    rows = [
        [m.name, *(str(m.aliases.get(a, "")) for a in ("champion", "challenger", "shadow"))]
        for m in models
    ]
    found = [{"name": m.name, "aliases": dict(m.aliases)} for m in models]
    return show(args, found, [["model", "champion", "challenger", "shadow"], *rows])


def show_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """One model with its versions and their newest figures."""
    registry.catalog.model(args.name)
    registry.lifecycle.state(args.name)
    versions = registry.store.list_versions(args.name)
    rows = [["number", "label", "stage", "aliases", "digest", "registered", "figures"]]
    found = []
    for version in versions:
        figures = {m.metric: m.value for m in registry.evaluations.measurements(version)}
        shown = ", ".join(f"{key} {value:.3g}" for key, value in sorted(figures.items())[:4])
        rows.append(
            [
                str(version.version),
                label_of(version),
                version.stage,
                " ".join(version.aliases),
                version.digest[:12],
                when(version.created_s),
                shown,
            ]
        )
        found.append({**asdict(version), "metrics": figures})
    return show(args, found, rows)


def compare_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """Two versions: figures on equal datasets, and what else differs."""
    a, b = (registry.catalog.version(args.name, reference) for reference in (args.a, args.b))
    figures, without = compare_figures(
        registry.evaluations.measurements(a), registry.evaluations.measurements(b)
    )
    differing = compare_descriptions((a, metadata_of(a)), (b, metadata_of(b)))
    rows = [["metric", "dataset", label_of(a), label_of(b), "difference"]]
    rows += [
        [f.metric, f.dataset, f"{f.a:.4g}", f"{f.b:.4g}", f"{f.difference:+.4g}"] for f in figures
    ]
    rows += [[metric, "no common dataset", "", "", ""] for metric in without]
    rows.append(["labels", "", "same" if differing["labels"]["same"] else "differ", "", ""])
    found = {"metrics": [asdict(f) for f in figures], "without": without, **differing}
    return show(args, found, rows)


def audit_model(registry: ModelRegistry, args: argparse.Namespace) -> int:
    """Audit entries, newest first; or who was champion at a time."""
    events = registry.ledger.events(args.name)
    if not events:
        registry.catalog.model(args.name)
    if args.at:
        event = champion_at(events, _moment(args.at))
        version = event.after["aliases"]["champion"] if event else None
        rows = [["champion", "since", "by", "digest"]]
        if event:
            rows.append([str(version), when(event.at_s), event.actor, event.digest[:12]])
        return show(args, {"version": version, "event": asdict(event) if event else None}, rows)
    newest = events[::-1][: args.limit]
    rows = [["entry", "when", "what", "version", "who", "why"]]
    rows += [
        [str(e.seq), when(e.at_s), e.action, str(e.version or ""), e.actor, e.reason[:60]]
        for e in newest
    ]
    return show(args, [asdict(event) for event in newest], rows)


def show(args: argparse.Namespace, found: Any, rows: Sequence[Sequence[str]]) -> int:
    """Prints a table, or the same facts as JSON; returns the exit status."""
    if args.json:
        print(json.dumps(found, ensure_ascii=False))
        return 0
    print(as_table(rows))
    return 0


def as_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def when(seconds: float) -> str:
    """Unix seconds as a short UTC time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise OperationError(f"{text!r} is not a time like 2026-01-31T12:00") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
