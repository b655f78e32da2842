"""What a replica learns of candidates from its own answers: shadow, canary and feedback.

Each replica that takes texts from callers (Ingress, Stream, Jobs) has one, so a candidate is
judged by what the callers of each got. Nothing here delays an answer. ``shadow.py`` asks the
shadow version, ``paired_counts.py`` counts, ``feedback.py`` remembers.
"""

from collections.abc import Sequence

from configs.schema.app import AppConfig
from deployments.canary.feedback import Feedback
from deployments.canary.paired_counts import PairedCounts
from deployments.canary.shadow import Shadow
from deployments.errors import RequestError
from deployments.payloads import Counts, FeedbackResult, RunTexts
from deployments.predictions import Answer, Outcome
from deployments.telemetry.metrics import Metrics
from deployments.versions import CurrentRoutes, ServedVersion


class CandidateObserver:
    """Everything that one replica knows of candidates. For one event loop."""

    def __init__(
        self, config: AppConfig, run_texts: RunTexts, metrics: Metrics, routes: CurrentRoutes
    ) -> None:
        """Nothing seen yet.

        Args:
            config: Sizes and limits.
            run_texts: The tokenizer stage, for the shadow version.
            metrics: Where comparisons are counted.
            routes: Which versions are candidates.
        """
        limits = config.rollout
        self._metrics = metrics
        self._routes = routes
        self._counts = PairedCounts(limits.slow_ratio, limits.drift_step)
        self._feedback = Feedback(limits.max_remembered_predictions, self._counts)
        self._shadow = Shadow(config, run_texts, metrics, self._compared)

    def answered(
        self,
        model: ServedVersion,
        answers: Sequence[Answer | RequestError],
        keys: Sequence[bytes],
    ) -> None:
        """Notes what callers got of ``model``; the shadow version is asked some of it.

        Args:
            model: The version that answered.
            answers: One for each text.
            keys: Routing key of each text; empty where no shadow version is to be asked.
        """
        table = self._routes.table
        challenger = table.challenger
        rival = challenger.model.digest if challenger is not None else ""
        for answer in answers:
            if isinstance(answer, Answer):
                self._feedback.remember(answer.id, model, answer.label, rival)
            if challenger is not None:
                got = answer.outcome if isinstance(answer, Answer) else answer
                self._counts.answered(challenger.model, model, got)
        if table.shadow is None or model != table.champion or not keys:
            return
        shadowed = {key for key in set(keys) if table.shadowed(key)}
        asked = [
            answer
            for key, answer in zip(keys, answers, strict=True)
            if key in shadowed and isinstance(answer, Answer)
        ]
        self._shadow.compare(table.shadow.model, asked)

    def judge(self, prediction_id: str, label: str) -> FeedbackResult | None:
        """See ``Feedback.judge``."""
        found = self._feedback.judge(prediction_id, label)
        if found is not None and found.correct is not None and not found.again:
            self._metrics.feedback.labels("correct" if found.correct else "wrong").inc()
        table = self._routes.table
        for slot in (table.challenger, table.shadow):
            if slot is not None and found is not None and found.not_counted:
                self._counts.missed(slot.model.digest, found.not_counted)
        return found

    def take(self, digest: str) -> Counts:
        """See ``PairedCounts.take``."""
        return self._counts.take(digest)

    def _compared(
        self, answer: Answer, shadow: ServedVersion, outcome: Outcome | RequestError
    ) -> None:
        self._counts.shadow(answer.model, answer.outcome, shadow, outcome)
        if isinstance(outcome, Outcome):
            label = shadow.labels[int(outcome.prediction.scores.argmax())]
            self._feedback.shadowed(answer.id, shadow.digest, label)
