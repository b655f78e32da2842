"""Figures of versions: evaluations as MLflow runs, metrics on the version's LoggedModel.

The LoggedModel's metrics carry the dataset and its digest, so two versions are compared
only where they were measured on the same texts. ``lifecycle/gate.py`` uses them; the MLflow
UI shows them beside the version and the dataset.
"""

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from registry.backend.audit_ledger import Entry
from registry.backend.publish import DATASET_DIGEST_CHARS
from registry.backend.store import RegistryStore
from registry.backend.tags import (
    DATASET_DIGEST_TAG,
    DATASET_TAG,
    DELETED_EVALUATIONS_TAG,
    EVALUATED_VERSION_TAG,
    EVALUATION_OF_TAG,
    EVALUATION_TAG,
    METADATA_TAG,
)
from registry.catalog.metadata import parse_stored
from registry.errors import InvalidValue, ModelNotFound
from registry.lifecycle.gate import Evidence
from registry.records import Measurement, ModelVersion

MAX_METRICS = 100
_MAX_EVALUATIONS = 1_000


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of a version.

    Attributes:
        id: MLflow's run id.
        name: What it was called.
        dataset: Name of the dataset.
        dataset_digest: First 32 hex digits of its digest; empty when unknown.
        metrics: Figures by name.
        metadata: Further facts.
        created_s: Unix time, seconds.
        broken: Stored fields that cannot be shown, with the reasons.
    """

    id: str
    name: str
    dataset: str
    dataset_digest: str
    metrics: Mapping[str, float]
    metadata: Mapping[str, Any]
    created_s: float
    broken: tuple[str, ...] = ()


class Evaluations:
    """Evaluations in one store. Threads may share it."""

    def __init__(self, store: RegistryStore) -> None:
        self._store = store
        self._mlflow = store.mlflow

    def evidence(self, name: str, version: int) -> Evidence:
        """The evidence that the gate uses of a version."""
        found = self._store.resolve(name, version)
        figures = self.measurements(found)
        return Evidence(found.version, found.labels, found.digest, figures, found.task)

    def measurements(self, version: ModelVersion) -> tuple[Measurement, ...]:
        """All figures of a version; none when MLflow keeps no LoggedModel for it."""
        model_id = logged_model_id(version)
        if model_id is None:
            return ()
        with self._mlflow.translated(f"figures of version {version.version}"):
            model = self._mlflow.client().get_logged_model(model_id)
        return tuple(_measurements(model))

    def measurements_by_model(self) -> dict[str, tuple[Measurement, ...]]:
        """All figures of all LoggedModels of this registry, by their id."""
        search, home = self._mlflow.client().search_logged_models, self._mlflow.experiment_id()
        found = self._mlflow.pages("figures", search, [home], max_results=100)
        return {model.model_id: tuple(_measurements(model)) for model in found}

    def add(
        self,
        version: ModelVersion,
        *,
        name: str,
        dataset: str,
        dataset_digest: str,
        metrics: Mapping[str, float],
        metadata: Mapping[str, Any],
        actor: str,
        report: Mapping[str, Any] | None = None,
    ) -> Evaluation:
        """Records an evaluation: a run, its metrics on the LoggedModel, the dataset's lineage.

        ``report`` is kept with the run as ``evaluation.json``.

        Raises:
            InvalidValue: Too many metrics, one that is not finite, or a version that was not
                made here.
            BackendUnavailable: The store cannot be written.
        """
        model_id = logged_model_id(version)
        if model_id is None:
            raise InvalidValue(f"version {version.version} was not made by this registry")
        check_metrics(metrics)
        client = self._mlflow.client()
        digest = dataset_digest[:DATASET_DIGEST_CHARS]
        with self._mlflow.translated(f"evaluation {name!r}"):
            tags = {
                EVALUATION_OF_TAG: model_id,
                EVALUATION_TAG: name,
                DATASET_TAG: dataset,
                DATASET_DIGEST_TAG: digest,
                METADATA_TAG: json.dumps(metadata, ensure_ascii=False, allow_nan=False),
                EVALUATED_VERSION_TAG: f"{version.name}/{version.version}",
            }
            run = client.create_run(self._mlflow.experiment_id(), run_name=name, tags=tags)
            run_id = str(run.info.run_id)
            self._mlflow.link_dataset(run_id, model_id, dataset, digest or "unknown")
            now_ms = int(time.time() * 1000)
            place = {"dataset_name": dataset, "dataset_digest": digest or "unknown"}
            for key, value in metrics.items():
                client.log_metric(run_id, key, value, now_ms, 0, model_id=model_id, **place)
            if report is not None:
                client.log_dict(run_id, dict(report), "evaluation.json")
            client.set_terminated(run_id)
        self._store.ledger.record(
            version.name,
            Entry(
                "create_evaluation",
                actor,
                f"{name} on {dataset}"[:500],
                version.version,
                after={"evaluation": run_id, "metrics": dict(list(metrics.items())[:20])},
                digest=version.digest,
            ),
        )
        return Evaluation(run_id, name, dataset, digest, metrics, metadata, now_ms / 1000)

    def delete(self, version: ModelVersion, evaluation_id: str, *, actor: str) -> None:
        """Deletes an evaluation; its figures are no longer evidence.

        Raises:
            ModelNotFound: The version has no such evaluation.
        """
        model_id = logged_model_id(version)
        if model_id is None or evaluation_id not in [found.id for found in self.of(version)]:
            raise ModelNotFound(
                f"version {version.version} of model {version.name!r} has no evaluation "
                f"{evaluation_id[:100]!r}"
            )
        entry = Entry(
            "delete_evaluation",
            actor,
            "",
            version.version,
            before={"evaluation": evaluation_id},
            digest=version.digest,
        )
        self._store.ledger.record(version.name, entry)
        client = self._mlflow.client()
        with self._mlflow.translated(f"evaluation {evaluation_id!r}"):
            deleted = client.get_logged_model(model_id).tags.get(DELETED_EVALUATIONS_TAG, "")
            tags = {DELETED_EVALUATIONS_TAG: f"{deleted} {evaluation_id}".strip()}
            client.set_logged_model_tags(model_id, tags)
            client.delete_run(evaluation_id)

    def by_logged_model(self) -> dict[str, list[Evaluation]]:
        """The newest 1,000 evaluations of the whole registry, by LoggedModel, newest first."""
        found: dict[str, list[Evaluation]] = {}
        for run in self._runs("LIKE 'm-%'"):
            found.setdefault(run.data.tags[EVALUATION_OF_TAG], []).append(_evaluation(run))
        return found

    def of(self, version: ModelVersion) -> list[Evaluation]:
        """A version's evaluations, newest first; at most 1,000."""
        model_id = logged_model_id(version)
        if model_id is None:
            return []
        return [_evaluation(run) for run in self._runs(f"= '{model_id}'")]

    def _runs(self, logged_model: str) -> list[Any]:
        """Evaluation runs, newest first; ``logged_model`` is the filter's comparison."""
        with self._mlflow.translated("evaluations"):
            found: list[Any] = self._mlflow.client().search_runs(
                [self._mlflow.experiment_id()],
                f"tags.`{EVALUATION_OF_TAG}` {logged_model}",
                max_results=_MAX_EVALUATIONS,
                order_by=["attributes.start_time DESC"],
            )
        return found


def check_metrics(metrics: Mapping[str, float]) -> None:
    """Checks figures that come from outside.

    Raises:
        InvalidValue: Too many, or one is not a finite number.
    """
    if len(metrics) > MAX_METRICS:
        raise InvalidValue(f"{len(metrics)} metrics are over the limit of {MAX_METRICS}")
    for key, value in metrics.items():
        if not math.isfinite(value):
            raise InvalidValue(f"metric {key!r} is {value}: only finite numbers are kept")


def logged_model_id(version: ModelVersion) -> str | None:
    """MLflow's LoggedModel behind a version; None when it was registered in another way."""
    model_id = version.uri.removeprefix("models:/")
    return model_id if model_id.startswith("m-") and version.uri != model_id else None


def latest(measurements: Iterable[Measurement], metric: str) -> Measurement | None:
    """The newest figure of that name."""
    found = [m for m in measurements if m.metric == metric]
    return max(found, key=lambda m: m.measured_s, default=None)


def _measurements(model: Any) -> Iterator[Measurement]:
    """A LoggedModel's figures; MLflow keeps those of deleted evaluations, so they are left out."""
    deleted = model.tags.get(DELETED_EVALUATIONS_TAG, "").split()
    for metric in model.metrics or ():
        if math.isfinite(metric.value) and metric.run_id not in deleted:
            digest = metric.dataset_digest or ""
            yield Measurement(
                metric.key,
                float(metric.value),
                metric.dataset_name or "",
                "" if digest == "unknown" else digest,
                metric.timestamp / 1000,
            )


def _evaluation(run: Any) -> Evaluation:
    tags = run.data.tags
    metadata, problem = parse_stored(tags.get(METADATA_TAG, "{}"))
    return Evaluation(
        id=str(run.info.run_id),
        name=tags.get(EVALUATION_TAG, run.info.run_name),
        dataset=tags.get(DATASET_TAG, ""),
        dataset_digest=tags.get(DATASET_DIGEST_TAG, ""),
        metrics={k: v for k, v in run.data.metrics.items() if math.isfinite(v)},
        metadata=metadata if isinstance(metadata, dict) else {},
        created_s=run.info.start_time / 1000,
        broken=(f"metadata: {problem}",) if problem else (),
    )
