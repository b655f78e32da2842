"""A loaded model's surface: measured once for each kind of host, then read."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from configs.schema.app import BatchingConfig, ModelConfig
from deployments.model.engines import open_engine
from deployments.model.runner import LoadedModel, PlannedModel, with_surface
from registry.records import Bundle


class Counting(LoadedModel):
    """Notes the shapes that it scores."""

    def score(self, rows):  # type: ignore[no-untyped-def]
        self.__dict__.setdefault("shapes", []).append((len(rows), len(rows[0])))
        return super().score(rows)


class Preempted(Counting):
    """Waits for the processor, 50 ms each time."""

    def score(self, rows):  # type: ignore[no-untyped-def]
        time.sleep(0.05)
        return super().score(rows)


def load(
    bundled: Bundle,
    folder: Path,
    *,
    budget_ms: int,
    threads: int = 1,
    kind: type[Counting] = Counting,
    **batching: bool,
) -> PlannedModel:
    loaded = kind(bundled, open_engine(bundled, provider="cpu", threads=threads))
    return with_surface(
        loaded,
        BatchingConfig(**batching),  # type: ignore[arg-type]
        ModelConfig(surface_budget_ms=budget_ms),
        folder=folder,
        threads=threads,
    )


def shapes(model: PlannedModel) -> set[tuple[int, int]]:
    return set(model.loaded.__dict__.get("shapes", []))


def test_a_restart_on_the_same_host_does_not_measure(bundled: Bundle, tmp_path: Path) -> None:
    first = load(bundled, tmp_path, budget_ms=0)
    again = load(bundled, tmp_path, budget_ms=0)
    assert shapes(first)
    assert not shapes(again)
    assert again.surface.seconds.tolist() == first.surface.seconds.tolist()


def test_a_model_that_was_trained_anew_does_not_measure(bundled: Bundle, tmp_path: Path) -> None:
    load(bundled, tmp_path, budget_ms=0)
    (weights, size), *_ = (bundled.files[name] for name in bundled.files if "model." in name)
    trained = {"model.onnx": (weights[::-1], size + 20)}
    version = replace(bundled, digest="0" * 64, temperature=2.0, files=bundled.files | trained)
    assert not shapes(load(version, tmp_path, budget_ms=0))
    larger = replace(version, files=bundled.files | {"model.onnx": (weights, 2 * size)})
    assert shapes(load(larger, tmp_path, budget_ms=0))


def test_a_larger_budget_measures_more(bundled: Bundle, tmp_path: Path) -> None:
    little = shapes(load(bundled, tmp_path / "a", budget_ms=0))
    more = shapes(load(bundled, tmp_path / "b", budget_ms=500))
    assert len(little) == 1
    assert little < more


@pytest.mark.parametrize(("threads", "counted"), [(1, False), (2, True)])
def test_time_without_the_processor_is_no_cost_of_an_engine_of_one_thread(
    bundled: Bundle, tmp_path: Path, threads: int, counted: bool
) -> None:
    model = load(bundled, tmp_path, budget_ms=0, threads=threads, kind=Preempted)
    assert bool(model.surface.seconds[0, 0] > 0.05) is counted


@pytest.mark.parametrize(("reproducible", "alone"), [(True, True), (False, False)])
def test_reproducible_scores_plan_texts_one_by_one_where_rows_interact(
    bundled: Bundle, tmp_path: Path, reproducible: bool, alone: bool
) -> None:
    dynamic = replace(bundled, engine=replace(bundled.engine, batch_invariant=False))
    model = load(dynamic, tmp_path, budget_ms=0, reproducible_scores=reproducible)
    assert ({rows for rows, _ in shapes(model)} == {1}) is True
    # By cells alone, equal lengths cost the same together or apart: any tie is a valid plan.
    sizes = {len(batch.indices) for batch in model.plan([8] * 6)}
    assert (sizes == {1}) is alone or not alone
