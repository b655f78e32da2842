"""What `models compare` says of figures that two versions do not share: who has which dataset."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from deployments.jobs.file_kind import kind_of
from registry.catalog.compare import ACCURACIES
from registry.catalog.metadata import label_of
from registry.records import Measurement, ModelVersion

Measured = tuple[ModelVersion, Sequence[Measurement]]


def no_common_dataset(a: Measured, b: Measured, asked: str = "") -> list[str]:
    """Lines for two versions without a figure on the same texts: the datasets of each, and the
    commands that measure what one lacks.

    Args:
        a: A version and its figures.
        b: The other.
        asked: The only dataset that was wanted; empty for any.
    """
    on = f" {asked}" if asked else ""
    lines = [
        f"nothing is compared: versions {a[0].version} and {b[0].version} of {a[0].name} were not "
        f"measured on the same dataset{on}"
    ]
    lines += [f"  version {v.version} ({label_of(v)}): {_datasets(ms)}" for v, ms in (a, b)]
    commands = _commands(a[0], b[1], asked) + _commands(b[0], a[1], asked)
    if not commands:
        commands = [_command(v, asked) for v, _ in (a, b)]
    lines.append("measure both on the same file:")
    lines += [f"  {command}" for command in commands]
    return lines


def also_measured(a: Measured, b: Measured, metrics: Sequence[str]) -> str:
    """One line on metrics that are not in the table, for they are on no common dataset."""
    sides = "; ".join(f"version {v.version} has {_datasets(ms)}" for v, ms in (a, b))
    return f"not compared, as on no common dataset: {', '.join(metrics)} ({sides})"


def _datasets(measured: Sequence[Measurement]) -> str:
    """Each dataset with its digest and the first accuracy on it, those measured last first."""
    found: dict[tuple[str, str], str] = {}
    for one in sorted(measured, key=lambda m: (-m.measured_s, _rank(m.metric))):
        name = one.dataset or "its own data"
        key = (name, one.dataset_digest)
        digest = f"digest {one.dataset_digest[:12]}" if one.dataset_digest else "declared only"
        figure = f", {one.metric} {one.value:.4g}" if one.metric in ACCURACIES else ""
        if key not in found or (figure and ", " not in found[key]):
            found[key] = f"{name} ({digest}{figure})"
    return "; ".join(found.values()) or "nothing measured"


def _rank(metric: str) -> int:
    return ACCURACIES.index(metric) if metric in ACCURACIES else len(ACCURACIES)


def _commands(version: ModelVersion, others: Sequence[Measurement], asked: str) -> list[str]:
    """What measures a version on the other's datasets, the last one first."""
    newest = sorted((m for m in others if m.dataset_digest), key=lambda m: -m.measured_s)
    names = dict.fromkeys(m.dataset for m in newest if m.dataset and asked in ("", m.dataset))
    return [_command(version, name) for name in names]


def _command(version: ModelVersion, dataset: str) -> str:
    data = shlex.quote(dataset) if kind_of(dataset) else "FILE"
    name = f" --dataset {shlex.quote(dataset)}" if dataset and data == "FILE" else ""
    return f"sentigraph models evaluate {version.name} {version.version} --data {data}{name}"
