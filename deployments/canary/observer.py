"""What an ingress does after it has answered: shadow, canary and feedback, side by side.

Nothing here is on the way of an answer. ``shadow.py`` asks the shadow version,
``observed.py`` counts, ``feedback.py`` remembers.
"""

from collections.abc import Callable, Mapping, Sequence

from configs.schema.app import AppConfig
from deployments.asgi.exchange import Exchange
from deployments.canary.feedback import Feedback
from deployments.canary.paired_counts import PairedCounts
from deployments.canary.shadow import PrimaryAnswer, Shadow
from deployments.errors import RequestError
from deployments.payloads import Counts, FeedbackResult, RunTexts
from deployments.predictions import Outcome
from deployments.telemetry.metrics import Metrics
from deployments.versions import RoutingTable, ServedVersion, routing_key


class CandidateObserver:
    """Everything that one ingress knows of candidates. One event loop."""

    def __init__(
        self,
        config: AppConfig,
        run_texts: RunTexts,
        metrics: Metrics,
        routes: Callable[[], RoutingTable],
    ) -> None:
        limits = config.rollout
        self._metrics = metrics
        self._routes = routes
        self._observed = PairedCounts(limits.slow_ratio, limits.drift_step)
        self._feedback = Feedback(limits.max_remembered_predictions, self._observed)
        self._shadow = Shadow(config, run_texts, metrics, self._compared)

    def answered(
        self,
        exchange: Exchange,
        model: ServedVersion,
        texts: Sequence[str],
        outcomes: Sequence[Outcome | RequestError],
        predictions: Sequence[Mapping[str, object]],
    ) -> None:
        """See ``predict.Answered``."""
        routes = self._routes()
        challenger = routes.challenger
        rival = challenger.model.digest if challenger is not None else ""
        for prediction in predictions:
            if prediction:
                number, label = str(prediction["prediction_id"]), str(prediction["label"])
                self._feedback.remember(number, model, label, rival)
        if challenger is not None:
            for outcome in outcomes:
                self._observed.answered(challenger.model, model, outcome)
        if routes.shadow is None or model != routes.champion:
            return
        shadow = routes.shadowed(routing_key(exchange.header("x-routing-key"), texts))
        if shadow is not None:
            answered = [
                PrimaryAnswer(text, outcome, str(prediction["prediction_id"]))
                for text, outcome, prediction in zip(texts, outcomes, predictions, strict=True)
                if isinstance(outcome, Outcome)
            ]
            self._shadow.compare(shadow, model, answered)

    def judge(self, prediction_id: str, label: str) -> FeedbackResult | None:
        """See ``Feedback.judge``."""
        found = self._feedback.judge(prediction_id, label)
        if found is not None and found.correct is not None and not found.again:
            self._metrics.feedback.labels("correct" if found.correct else "wrong").inc()
        return found

    def take(self, digest: str) -> Counts:
        """See ``PairedCounts.take``."""
        return self._observed.take(digest)

    def _compared(
        self,
        champion: ServedVersion,
        answer: PrimaryAnswer,
        shadow: ServedVersion,
        mine: Outcome | RequestError,
    ) -> None:
        self._observed.shadow(champion, answer.outcome, shadow, mine)
        if isinstance(mine, Outcome):
            label = shadow.labels[int(mine.prediction.scores.argmax())]
            self._feedback.shadowed(answer.prediction_id, shadow.digest, label)
