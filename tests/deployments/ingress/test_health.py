"""Ready is who can classify a text: what the first version of a graph is judged by."""

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from front import ROUTES, Stages

from configs.schema.app import AppConfig
from deployments.errors import NotReady
from deployments.ingress.disk import full_disk, kept_folders
from deployments.ingress.health import Readiness
from deployments.payloads import ModelAnswer, TextBatch
from deployments.telemetry.metrics import Metrics


class Broken(Stages):
    """Answers, but with no numbers; or not at all."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self._error = error

    async def classify(self, batch: TextBatch) -> ModelAnswer:
        if self._error is not None:
            raise self._error
        answer = await super().classify(batch)
        nothing = np.full_like(answer.scores.scores, np.nan)
        return replace(answer, scores=replace(answer.scores, scores=nothing))


def asked(stages: Stages) -> dict[str, str]:
    made = Readiness(stages.classify, lambda: ROUTES, Metrics(), cache=None, stream=None)
    return asyncio.run(made.checks())


def test_a_graph_is_ready_when_its_version_classifies() -> None:
    assert asked(Stages()) == {"model": "ok", "registry": "ok"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [(None, "scores that are no numbers"), (RuntimeError("engine"), "does not answer")],
)
def test_a_version_that_cannot_classify_makes_it_unready(
    error: Exception | None, reason: str
) -> None:
    with pytest.raises(NotReady, match=reason):
        asked(Broken(error))


def test_a_replica_that_does_not_answer_is_named_and_the_graph_is_ready() -> None:
    made = Readiness(Stages().classify, lambda: ROUTES, Metrics(), cache=None, stream=None)
    made.silent = lambda: ["Model replica m1 has not answered for 7 s"]
    assert asyncio.run(made.checks())["model"] == (
        "degraded: Model replica m1 has not answered for 7 s; others take its texts"
    )


def test_a_full_disk_is_said_and_refuses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = {"enabled": True, "database": f"sqlite:///{tmp_path}/jobs.db"}
    folders = kept_folders(AppConfig.model_validate({"jobs": jobs}))
    assert folders["jobs.database"] == tmp_path
    assert "drift.database" not in folders
    # A folder of another node is left out.
    assert full_disk({"registry.bundle_cache_dir": tmp_path / "none"}) is None
    left = shutil.disk_usage(tmp_path)._replace(total=8 << 30, free=300 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: left)
    assert full_disk(folders) is None
    left = left._replace(free=3 << 20)
    said = full_disk({"jobs.database": tmp_path})
    assert said is not None
    assert said.startswith("degraded: 3 MiB are left on the disk of jobs.database")
    # A small disk has little space and is not full.
    left = left._replace(total=40 << 20)
    assert full_disk(folders) is None
    made = Readiness(Stages().classify, lambda: ROUTES, Metrics(), cache=None, stream=None)
    made.disk = lambda: said
    assert asyncio.run(made.checks())["disk"] == said
