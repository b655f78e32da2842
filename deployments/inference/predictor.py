"""Texts → answers, for every way by which texts come: HTTP, Open Inference, Kafka, jobs.

    texts ─▶ check ─▶ choose the version ─▶ classify ─▶ round ─▶ count, log, observe

Callers parse what they receive and render what they send; everything between is here, so that a
text has the same answer, the same log row and the same part in a canary wherever it came from.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Protocol

from configs.schema.app import LimitsConfig
from deployments.errors import Overloaded, RequestError
from deployments.inference.classifier import Classifier
from deployments.inference.prediction_ids import Origin, PredictionIds
from deployments.inference.traffic_counter import TrafficCounter
from deployments.inference.validation import checked_text
from deployments.prediction_log.rows import LoggedAnswer, Source
from deployments.predictions import Answer, Outcome, Predictions, rounded_scores
from deployments.telemetry.metrics import Metrics
from deployments.telemetry.spans import Trace
from deployments.versions import CurrentRoutes, ServedVersion, routing_key

if TYPE_CHECKING:
    from deployments.prediction_log.log import PredictionLog


class Observer(Protocol):
    """``CandidateObserver``, which itself classifies texts."""

    def answered(
        self,
        model: ServedVersion,
        answers: Sequence[Answer | RequestError],
        keys: Sequence[bytes],
    ) -> None:
        """Notes what callers got of ``model``, with the routing key of each text."""
        ...


class Predictor:
    """Answers the texts of one replica. For one event loop."""

    def __init__(
        self,
        classifier: Classifier,
        routes: CurrentRoutes,
        observer: Observer,
        limits: LimitsConfig,
        metrics: Metrics,
        *,
        source: Source,
        ids: PredictionIds | None = None,
        log: PredictionLog | None = None,
        traffic: TrafficCounter | None = None,
    ) -> None:
        """Wires the flow.

        Args:
            classifier: The way to the model.
            routes: Which version answers what.
            observer: Compares candidates with the champion.
            limits: What a text may be.
            metrics: Where answers are counted.
            source: How the texts come, for the prediction log.
            ids: Names the answers.
            log: The prediction log, if there is one.
            traffic: Counts answers for drift detection, if that is on.
        """
        self._classifier = classifier
        self._routes = routes
        self._observer = observer
        self._limits = limits
        self._metrics = metrics
        self._source = source
        self._ids = ids or PredictionIds("")
        self._log = log
        self._traffic = traffic
        # Finding a child by its labels costs more than counting.
        self._counter = cache(
            lambda label, cached: metrics.predictions.labels(label, str(cached).lower())
        )

    async def predict(
        self,
        texts: Sequence[str],
        *,
        deadline_s: float,
        bulk: bool,
        key: str | None = None,
        pinned: ServedVersion | None = None,
        all_or_none: bool = False,
        traces: Sequence[Trace | None] = (),
        caller: str = "",
    ) -> Predictions:
        """Answers the texts of one request, all by the same version.

        Args:
            texts: As they came.
            deadline_s: On ``time.monotonic``.
            bulk: Whether interactive texts go first.
            key: The caller's routing key; without one the texts' content chooses the version.
            pinned: The version that the caller named; candidates are not judged by its answers.
            all_or_none: Refuse the request when one of its texts is refused.
            traces: Of each text; empty if none is sampled.
            caller: Who takes turns with others that wait.

        Raises:
            Overloaded: The texts do not fit now, or would not be answered in time.
            RequestError: With ``all_or_none`` the refusal of the first text that is refused.
        """
        accepted: dict[int, str] = {}
        refused: dict[int, RequestError] = {}
        for index, text in enumerate(texts):
            try:
                accepted[index] = self.check(text)
            except RequestError as error:
                if all_or_none:
                    raise
                refused[index] = error
        checked = list(accepted.values())
        table = self._routes.table
        model = pinned or table.champion
        keys: Sequence[bytes] = ()
        if pinned is None and table.has_candidates:
            chosen_by = routing_key(key, checked)
            model, keys = table.choose(chosen_by), (chosen_by,) * len(checked)
        if refused and traces:
            traces = [traces[index] for index in accepted]
        answers = await self.answer(
            model,
            checked,
            deadline_s=deadline_s,
            bulk=bulk,
            keys=keys,
            traces=traces,
            observed=pinned is None,
            caller=caller,
        )
        if refused:
            by_index = refused | dict(zip(accepted, answers, strict=True))
            answers = [by_index[index] for index in range(len(texts))]
        return Predictions(model, answers, checked)

    def start(
        self,
        text: str,
        *,
        deadline_s: float,
        bulk: bool,
        done: Callable[[Predictions], None],
        caller: str,
        key: str | None = None,
        pinned: ServedVersion | None = None,
        trace: Trace | None = None,
    ) -> Callable[[], None]:
        """``predict`` of one text without a coroutine or a task, for HTTP's fast path.

        Args:
            text: As it came.
            deadline_s: On ``time.monotonic``.
            bulk: Whether interactive texts go first.
            done: Called once on the event loop, at once if a cache knows the text; its ``answers``
                hold one ``Answer``, or the error that the text ended with.
            caller: Who takes turns with others that wait: ``Exchange.share_key``.
            key: The caller's routing key; without one the text's content chooses the version.
            pinned: The version that the caller named; candidates are not judged by its answers.
            trace: Of the request, if it is sampled.

        Returns:
            Withdraws the text, for a client that has gone: ``done`` is not called any more.

        Raises:
            Overloaded: The text does not fit now, or would not be answered in time.
            RequestError: The text is refused. ``done`` is not called in either case.
        """
        checked = self.check(text)
        table = self._routes.table
        model = pinned or table.champion
        keys: Sequence[bytes] = ()
        if pinned is None and table.has_candidates:
            keys = (routing_key(key, [checked]),)
            model = table.choose(keys[0])

        def classified(outcome: Outcome | RequestError) -> None:
            answer: Answer | RequestError = (
                self._answer(checked, model, outcome, None)
                if isinstance(outcome, Outcome)
                else outcome
            )
            if pinned is None:
                self._observer.answered(model, [answer], keys)
            done(Predictions(model, [answer], [checked]))

        return self._classifier.start(
            model, checked, deadline_s, bulk=bulk, done=classified, caller=caller, trace=trace
        )

    def check(self, text: str) -> str:
        """The text without white space around; counts its characters.

        Raises:
            TextTooLong: More than ``max_text_chars``.
            TextEmpty: Nothing but white space.
        """
        checked = checked_text(text, self._limits.max_text_chars)
        self._metrics.text_chars.observe(len(checked))
        return checked

    def choose(self, key: bytes) -> ServedVersion:
        """The version for a routing key."""
        return self._routes.table.choose(key)

    async def answer(
        self,
        model: ServedVersion,
        texts: Sequence[str],
        *,
        deadline_s: float,
        bulk: bool,
        keys: Sequence[bytes] = (),
        traces: Sequence[Trace | None] = (),
        origins: Sequence[Origin] = (),
        observed: bool = True,
        caller: str = "",
    ) -> list[Answer | RequestError]:
        """Answers texts that ``check`` has returned; counts, logs and has them observed.

        Args:
            model: The version to ask, by ``choose``.
            texts: In order of the result.
            deadline_s: On ``time.monotonic``.
            bulk: Whether interactive texts go first.
            keys: Routing key of each text; without them no shadow version is asked.
            traces: Of each text; empty if none is sampled.
            origins: Of texts that may come again: a repeated one's answer has the same id.
            observed: Whether candidates are judged by the answers.
            caller: Who takes turns with others that wait.

        Raises:
            Overloaded: The texts do not fit now, or would not be answered in time; none was queued.
        """
        outcomes = await self._classifier.classify(
            model, texts, deadline_s, bulk=bulk, traces=traces, caller=caller
        )
        known: list[Origin | None] = [*origins] if origins else [None] * len(texts)
        answers = [
            self._answer(text, model, outcome, origin) if isinstance(outcome, Outcome) else outcome
            for text, outcome, origin in zip(texts, outcomes, known, strict=True)
        ]
        if observed:
            self._observer.answered(model, answers, keys)
        return answers

    async def can_answer(self, deadline_s: float) -> bool:
        """Whether a text that is in no cache is classified now; it counts nowhere."""
        text = f"ready? {uuid.uuid4()}"
        try:
            (outcome,) = await self._classifier.classify(
                self.choose(text.encode()), [text], deadline_s, bulk=True
            )
        except Overloaded:
            return False
        return isinstance(outcome, Outcome)

    def _answer(
        self, text: str, model: ServedVersion, outcome: Outcome, origin: Origin | None
    ) -> Answer:
        label, scores = rounded_scores(model.labels, outcome.prediction.scores.tolist())
        said = ((model.digest, model.version), model.labels.index(label), scores[label])
        if origin is None:
            number = self._ids.make(*said)
        else:
            number = self._ids.repeatable(origin.at_ms, (origin.id, text, model.digest), *said)
        answer = Answer(number, text, model, outcome, label, scores)
        self._counter(label, outcome.cached).inc()
        if model.head.activation != "none":
            self._metrics.score.observe(scores[label])
        if self._log is not None:
            now_ns = time.time_ns()
            row = (now_ns, number, self._source, text, model, outcome, label, scores)
            self._log.add(LoggedAnswer(*row))
        if self._traffic is not None:
            self._traffic.add(answer)
        return answer
