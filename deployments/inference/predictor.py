"""The two routes that predict: bytes in, bytes out, nothing between that is not needed."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

import orjson

from configs.schema.app import LimitsConfig
from deployments.asgi.exchange import Exchange
from deployments.asgi.schemas import BatchPredictRequest, PredictRequest
from deployments.errors import (
    BatchTooLarge,
    EmptyBatch,
    RequestError,
    TextEmpty,
    TextTooLong,
)
from deployments.inference.classifier import Classifier
from deployments.inference.validation import parse
from deployments.prediction_log.rows import LoggedAnswer, Source
from deployments.predictions import Outcome, served
from deployments.telemetry.metrics import Metrics
from deployments.versions import BACKENDS, ServedVersion

if TYPE_CHECKING:
    from deployments.prediction_log.log import PredictionLog

Listener = Callable[
    [
        Exchange,
        ServedVersion,
        Sequence[str],
        Sequence[Outcome | RequestError],
        Sequence[Mapping[str, object]],
    ],
    None,
]
"""Told of every answer: version, texts, outcomes, and their predictions (empty for failures)."""


class Predictor:
    """``POST /predict`` and ``POST /predict/batch``."""

    def __init__(
        self,
        classifier: Classifier,
        choose: Callable[[Exchange, Sequence[str]], ServedVersion],
        answered: Listener,
        limits: LimitsConfig,
        metrics: Metrics,
        *,
        log: "PredictionLog | None" = None,
        source: Source = "http",
    ) -> None:
        self._log, self._source = log, source
        self._classifier = classifier
        self._choose = choose
        self._answered = answered
        self._limits = limits
        self._metrics = metrics
        # Finding a child by its labels costs more than counting.
        self._predicted = cache(
            lambda label, cached: metrics.predictions.labels(label, str(cached).lower())
        )

    async def one(self, exchange: Exchange) -> None:
        """Answers one text with ``schemas.Prediction``."""
        deadline_s = exchange.deadline_s(self._limits)
        bulk = exchange.bulk(default=False)
        body = await exchange.json_body(self._limits, deadline_s)
        request = parse(PredictRequest, body)
        text = self._checked(request.text)
        model = self._choose(exchange, [text])
        (outcome,) = await self._classifier.classify(
            model, [text], deadline_s, bulk=bulk, traces=exchange.traces(1)
        )
        if isinstance(outcome, RequestError):
            exchange.served = served(model, [text], [outcome])
            self._answered(exchange, model, [text], [outcome], [{}])
            raise outcome
        answer = self._prediction(model, text, outcome) | _identity(model, exchange)
        exchange.served = served(model, [text], [outcome], answer)
        await exchange.answer(200, orjson.dumps(answer), _headers(model, exchange, [outcome]))
        self._answered(exchange, model, [text], [outcome], [answer])

    async def batch(self, exchange: Exchange) -> None:
        """Answers up to ``max_batch_texts`` texts with ``schemas.BatchPrediction``."""
        deadline_s = exchange.deadline_s(self._limits)
        bulk = exchange.bulk(default=True)
        body = await exchange.json_body(self._limits, deadline_s)
        request = parse(BatchPredictRequest, body)
        self._check_count(request.texts)
        texts, refused = self._split(request.texts)
        accepted = list(texts.values())
        model = self._choose(exchange, accepted)
        outcomes = await self._classifier.classify(
            model, accepted, deadline_s, bulk=bulk, traces=exchange.traces(len(accepted))
        )
        exchange.served = served(model, accepted, outcomes)
        answered = dict(zip(texts, outcomes, strict=True))
        results = []
        predictions: list[Mapping[str, object]] = []
        for index in range(len(request.texts)):
            outcome = refused[index] if index in refused else answered[index]
            prediction = None
            if isinstance(outcome, Outcome):
                prediction = self._prediction(model, texts[index], outcome)
            if index in answered:
                predictions.append(prediction or {})
            error = _error_item(outcome) if isinstance(outcome, RequestError) else None
            results.append({"index": index, "prediction": prediction, "error": error})
        answer = {
            "results": results,
            "total": len(results),
            "failed": sum(result["error"] is not None for result in results),
        } | _identity(model, exchange)
        timed = [outcome for outcome in outcomes if isinstance(outcome, Outcome)]
        await exchange.answer(200, orjson.dumps(answer), _headers(model, exchange, timed))
        self._answered(exchange, model, accepted, outcomes, predictions)

    async def every(
        self,
        exchange: Exchange,
        texts: Sequence[str],
        deadline_s: float,
        *,
        bulk: bool,
        pinned: ServedVersion | None = None,
    ) -> tuple[ServedVersion, list[dict[str, object]]]:
        """Answers all texts, for doors that know no error of a single one.

        Args:
            exchange: Whose routing key chooses the version.
            texts: As they came.
            deadline_s: On ``time.monotonic``.
            bulk: Whether interactive texts go first.
            pinned: The version that the caller named, if it did.

        Raises:
            RequestError: What refuses the request, or the first text that is refused.
        """
        self._check_count(texts)
        checked = [self._checked(text) for text in texts]
        model = pinned or self._choose(exchange, checked)
        outcomes = await self._classifier.classify(
            model, checked, deadline_s, bulk=bulk, traces=exchange.traces(len(checked))
        )
        exchange.served = served(model, checked, outcomes)
        answers = [
            self._prediction(model, text, outcome) if isinstance(outcome, Outcome) else {}
            for text, outcome in zip(checked, outcomes, strict=True)
        ]
        if pinned is None:
            self._answered(exchange, model, checked, outcomes, answers)
        for outcome in outcomes:
            if isinstance(outcome, RequestError):
                raise outcome
        return model, answers

    async def each(
        self, model: ServedVersion, texts: Sequence[str], deadline_s: float
    ) -> list[dict[str, object] | RequestError]:
        """Answers texts that did not come over HTTP, after interactive ones; one each, in order.

        Raises:
            Overloaded: They do not fit now, or would not be answered in time; none was queued.
        """
        accepted, refused = self._split(texts)
        outcomes = await self._classifier.classify(
            model, list(accepted.values()), deadline_s, bulk=True
        )
        answered: dict[int, dict[str, object] | RequestError] = {
            index: outcome
            if isinstance(outcome, RequestError)
            else self._prediction(model, text, outcome)
            for (index, text), outcome in zip(accepted.items(), outcomes, strict=True)
        }
        every = answered | refused
        return [every[index] for index in range(len(texts))]

    def _check_count(self, texts: Sequence[str]) -> None:
        if not texts:
            raise EmptyBatch("texts is empty; send at least one text", {"field": "texts"})
        if len(texts) > self._limits.max_batch_texts:
            raise BatchTooLarge(
                f"{len(texts)} texts are more than the {self._limits.max_batch_texts} "
                "that one request may carry",
                {"field": "texts", "max_batch_texts": self._limits.max_batch_texts},
            )

    def _split(self, texts: Sequence[str]) -> tuple[dict[int, str], dict[int, RequestError]]:
        """Texts to classify and texts to refuse, both by position."""
        accepted: dict[int, str] = {}
        refused: dict[int, RequestError] = {}
        for index, text in enumerate(texts):
            try:
                accepted[index] = self._checked(text)
            except RequestError as error:
                refused[index] = error
        return accepted, refused

    def _checked(self, text: str) -> str:
        limit = self._limits.max_text_chars
        if len(text) > limit:
            raise TextTooLong(
                f"the text has {len(text)} characters, at most {limit} are allowed",
                {"field": "text", "max_text_chars": limit},
            )
        stripped = text.strip()
        if not stripped:
            raise TextEmpty("the text is empty or only white space", {"field": "text"})
        self._metrics.text_chars.observe(len(stripped))
        return stripped

    def _prediction(self, model: ServedVersion, text: str, outcome: Outcome) -> dict[str, object]:
        scores = [round(score, 6) for score in outcome.prediction.scores.tolist()]
        best = max(range(len(scores)), key=scores.__getitem__)
        label = model.labels[best]
        self._predicted(label, outcome.cached).inc()
        self._metrics.score.observe(scores[best])
        prediction_id = str(uuid.uuid4())
        by_label = dict(zip(model.labels, scores, strict=True))
        if self._log is not None:
            now_ns = time.time_ns()
            row = (now_ns, prediction_id, self._source, text, model, outcome, label, by_label)
            self._log.add(LoggedAnswer(*row))
        return {
            "prediction_id": prediction_id,
            "label": label,
            "score": scores[best],
            "scores": by_label,
            "n_tokens": outcome.prediction.n_tokens,
            "truncated": outcome.prediction.truncated,
            "cached": outcome.cached,
            "text_length": len(text),
        }


def _identity(model: ServedVersion, exchange: Exchange) -> dict[str, object]:
    return {
        "model_name": model.name,
        "model_version": model.version,
        "model_digest": model.digest,
        "backend": BACKENDS[model.kind],
        "inference_time_ms": round((time.monotonic() - exchange.started_s) * 1_000, 3),
    }


def _headers(
    model: ServedVersion, exchange: Exchange, outcomes: Sequence[Outcome]
) -> dict[str, str]:
    stages: dict[str, float] = {}
    for outcome in outcomes:
        for stage, seconds in outcome.stages_s.items():
            stages[stage] = max(stages.get(stage, 0.0), seconds)
    stages["total"] = time.monotonic() - exchange.started_s
    timing = ", ".join(f"{stage};dur={seconds * 1_000:.2f}" for stage, seconds in stages.items())
    return {"server-timing": timing, "x-model-backend": BACKENDS[model.kind]}


def _error_item(error: RequestError) -> dict[str, str]:
    return {"error_code": error.code, "error_message": error.message}
