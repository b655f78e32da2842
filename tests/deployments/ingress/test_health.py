"""Ready is who can classify a text: what the first version of a graph is judged by."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from front import ROUTES, Stages

from deployments.errors import NotReady
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
