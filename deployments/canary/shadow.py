"""Asks the shadow version the texts that the champion has answered, and compares.

Its answers reach no caller. It comes after the champion's answer, as bulk work of bounded amount:
what does not fit is skipped, so a slow or broken shadow version costs callers nothing.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from configs.schema.app import AppConfig
from deployments.errors import RequestError
from deployments.inference.classifier import Classifier
from deployments.payloads import RunTexts
from deployments.predictions import Answer, Outcome, agree
from deployments.telemetry.metrics import Metrics
from deployments.versions import ServedVersion

# Few: an engine that runs them cannot run a caller's text at the same time.
_HOP_TEXTS = 8

Compared = Callable[[Answer, ServedVersion, Outcome | RequestError], None]
"""Called for each text: the champion's answer, the shadow version, what that made of it."""


class Shadow:
    """Comparisons under way in one replica."""

    def __init__(
        self, config: AppConfig, run_texts: RunTexts, metrics: Metrics, compared: Compared
    ) -> None:
        """Wires a classifier of its own, so that no text of a caller waits behind these.

        Args:
            config: Sizes and limits.
            run_texts: The tokenizer stage.
            metrics: Where comparisons are counted.
            compared: Called for every text that the shadow version was asked.
        """
        cache = config.cache.model_copy(update={"l1_max_bytes": 0})
        batching = config.batching.model_copy(update={"max_hop_texts": _HOP_TEXTS})
        own = config.model_copy(update={"cache": cache, "batching": batching})
        # Its queue and its costs are not those that operators look at.
        self._classifier = Classifier(
            own, run_texts, None, Metrics(), hops_in_flight=1, engines=1.0
        )
        self._metrics = metrics
        self._compared = compared
        self._drift_step = config.rollout.drift_step
        self._max_in_flight = config.rollout.max_shadow_requests
        self._deadline_s = config.limits.default_deadline_ms / 1_000
        self._tasks: set[asyncio.Task[None]] = set()

    def compare(self, shadow: ServedVersion, answers: Sequence[Answer]) -> None:
        """Starts a comparison of what was just answered, unless too many are under way."""
        if not answers:
            return
        if len(self._tasks) >= self._max_in_flight:
            self._metrics.shadow_predictions.labels("skipped").inc(len(answers))
            return
        task = asyncio.create_task(self._run(shadow, answers))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, shadow: ServedVersion, answers: Sequence[Answer]) -> None:
        started_s = time.monotonic()
        texts = [answer.text for answer in answers]
        try:
            outcomes = await self._classifier.classify(
                shadow, texts, started_s + self._deadline_s, bulk=True
            )
        except RequestError:
            self._metrics.shadow_predictions.labels("skipped").inc(len(texts))
            return
        self._metrics.shadow_seconds.observe(time.monotonic() - started_s)
        for answer, outcome in zip(answers, outcomes, strict=True):
            self._compared(answer, shadow, outcome)
            if isinstance(outcome, RequestError):
                self._metrics.shadow_predictions.labels("failed").inc()
                continue
            self._metrics.shadow_predictions.labels("compared").inc()
            theirs, mine = answer.outcome.prediction.scores, outcome.prediction.scores
            same, _ = agree(answer.model, theirs, shadow, mine, self._drift_step)
            (self._metrics.shadow_matches if same else self._metrics.shadow_mismatches).inc()
