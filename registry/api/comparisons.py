"""Routes of comparisons: two versions, ranks by a metric, trends as data and as PNG."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from registry.api.dependencies import PREFIX, Backend, Name
from registry.api.plots import plot_trend
from registry.api.schemas import utc
from registry.catalog.compare import (
    Figure,
    compare_descriptions,
    compare_figures,
    compare_files,
    rank,
    with_declared,
    with_interval,
)
from registry.catalog.metadata import label_of, metadata_of
from registry.errors import ModelNotFound
from registry.records import Measurement, ModelVersion

Metric = Annotated[str, Query(min_length=1, max_length=100)]
Dataset = Annotated[str, Query(max_length=255, description="Only figures on this dataset count.")]


def comparison_routes(backend: Backend) -> APIRouter:
    """The routes of comparisons and trends."""
    api = APIRouter(prefix=f"{PREFIX}/{{model_id}}")
    evaluations, store = backend.registry.evaluations, backend.registry.store

    def measured(model_id: str) -> list[tuple[ModelVersion, tuple[Measurement, ...]]]:
        backend.registry.catalog.model(model_id)
        versions = store.list_versions(model_id)
        return [(v, with_declared(v, evaluations.measurements(v))) for v in versions]

    @api.get("/compare")
    def compare(
        model_id: Name,
        a: Annotated[str, Query(max_length=100)],
        b: Annotated[str, Query(max_length=100)],
    ) -> dict[str, Any]:
        """Two versions: figures on equal datasets, labels, metadata, parameters and files."""
        left, right = backend.find(model_id, a), backend.find(model_id, b)
        policy = backend.registry.catalog.model(model_id).policy
        figures, without = compare_figures(
            evaluations.measurements(left), evaluations.measurements(right), policy.shown_dataset
        )
        return {
            "a": label_of(left),
            "b": label_of(right),
            "metrics": figures,
            "metrics_without_a_common_dataset": without,
            **compare_descriptions((left, metadata_of(left)), (right, metadata_of(right))),
            "files": compare_files(backend.uploads.listing(left), backend.uploads.listing(right)),
        }

    @api.get("/compare/{metric_name}")
    def compare_metric(
        model_id: Name,
        metric_name: str,
        direction: Literal["higher", "lower"] | None = None,
        dataset: Dataset = "",
    ) -> dict[str, Any]:
        """Versions by a metric, best first, those without it last.

        What was never measured counts by the `performance_metrics` that the author declared; gates
        do not take those.
        Which direction is better comes from the model's policy when it is not given.
        """
        info = backend.registry.catalog.model(model_id)
        rules = [r.higher_is_better for r in info.policy.rules if r.metric == metric_name]
        higher = direction == "higher" if direction else all(rules)
        ranked = rank(measured(model_id), metric_name, higher_is_better=higher, dataset=dataset)
        versions = [
            {
                "version": label_of(version),
                "status": version.stage,
                "metric_value": None if figure is None else figure.value,
                "dataset_name": None if figure is None else figure.dataset,
                "created_at": utc(version.created_s),
                "updated_at": utc(version.updated_s),
            }
            for version, figure in ranked
        ]
        return {"metric_name": metric_name, "higher_is_better": higher, "versions": versions}

    @api.get("/metrics/trend")
    def metric_trend(model_id: Name, metric: Metric, dataset: Dataset = "") -> dict[str, Any]:
        """A metric's figures of all versions, oldest version first.

        `interval` is the 95 % interval of `accuracy`, where the number of texts is known.
        """
        points = _points(measured(model_id), metric, dataset)
        return {
            "model_id": model_id,
            "metric": metric,
            "points": [
                {
                    "version": label_of(version),
                    "number": version.version,
                    "value": figure.value,
                    "interval": figure.interval,
                    "dataset_name": figure.dataset,
                    "dataset_digest": figure.dataset_digest,
                    "measured_at": utc(measured_s),
                }
                for version, figure, measured_s in points
            ],
        }

    @api.get("/metrics/trend.png", response_class=Response)
    def metric_trend_png(model_id: Name, metric: Metric, dataset: Dataset = "") -> Response:
        """The same as a picture."""
        points = _points(measured(model_id), metric, dataset)
        if not points:
            raise ModelNotFound(f"no version of model {model_id!r} has {metric!r}")
        return Response(
            plot_trend(model_id, metric, [(v, f) for v, f, _ in points]), media_type="image/png"
        )

    @api.get("/metrics/visualization")
    def metric_visualization(model_id: Name) -> dict[str, Any]:
        """All figures of all versions, by version."""
        body = backend.model(model_id)
        names = {key for v in body.versions for e in v.evaluations for key in e.metrics}
        names |= {key for v in body.versions for key in v.metadata.performance_metrics}
        return {
            "model_id": body.id,
            "model_name": body.name,
            "metrics_data": {
                "available_metrics": sorted(names),
                "versions": {
                    v.version: {
                        "version": v.version,
                        "status": v.status,
                        "created_at": v.created_at,
                        "metrics": v.metadata.performance_metrics,
                        "evaluations": v.evaluations,
                    }
                    for v in body.versions
                },
                "total_versions": len(body.versions),
                "total_evaluations": sum(len(v.evaluations) for v in body.versions),
            },
        }

    return api


def _points(
    versions: list[tuple[ModelVersion, tuple[Measurement, ...]]], metric: str, dataset: str
) -> list[tuple[ModelVersion, Figure, float]]:
    return [
        (version, with_interval(figure, figures), figure.measured_s)
        for version, figures in versions
        for figure in sorted(figures, key=lambda m: m.measured_s)
        if figure.metric == metric and dataset in ("", figure.dataset)
    ]
