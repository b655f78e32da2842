"""``POST /predict`` and ``POST /predict/batch``: bytes in, bytes out.

Raw ASGI around ``Predictor``: parse, ask, render.
"""

import time
from collections.abc import Iterable

import orjson

from configs.schema.app import LimitsConfig
from deployments.asgi.exchange import Exchange
from deployments.asgi.schemas import BatchPredictRequest, PredictRequest
from deployments.errors import RequestError
from deployments.inference.predictor import Predictor
from deployments.inference.validation import check_count, parse
from deployments.predictions import Answer, error_body
from deployments.versions import BACKENDS, ServedVersion


class PredictRoutes:
    """The two routes that predict."""

    def __init__(self, predictor: Predictor, limits: LimitsConfig) -> None:
        self._predictor = predictor
        self._limits = limits

    async def one(self, exchange: Exchange) -> None:
        """Answers one text with ``schemas.Prediction``.

        Raises:
            RequestError: The request is refused or its text has no answer.
        """
        deadline_s = exchange.deadline_s(self._limits)
        bulk = exchange.bulk(default=False)
        body = await exchange.json_body(self._limits, deadline_s)
        request = parse(PredictRequest, body)
        found = await self._predictor.predict(
            [request.text],
            deadline_s=deadline_s,
            bulk=bulk,
            key=exchange.header("x-routing-key"),
            all_or_none=True,
            traces=exchange.traces(1),
            caller=exchange.share_key,
        )
        (answer,) = found.answers
        if isinstance(answer, RequestError):
            exchange.served = found.facts()
            raise answer
        exchange.served = found.facts(answer)
        rendered = answer.body() | _identity(found.model, exchange)
        headers = _headers(found.model, exchange, [answer])
        await exchange.answer(200, orjson.dumps(rendered), headers)

    async def batch(self, exchange: Exchange) -> None:
        """Answers up to ``max_batch_texts`` texts with ``schemas.BatchPrediction``.

        Raises:
            RequestError: The request as a whole is refused.
        """
        deadline_s = exchange.deadline_s(self._limits)
        bulk = exchange.bulk(default=True)
        body = await exchange.json_body(self._limits, deadline_s)
        texts = parse(BatchPredictRequest, body).texts
        check_count(texts, self._limits)
        found = await self._predictor.predict(
            texts,
            deadline_s=deadline_s,
            bulk=bulk,
            key=exchange.header("x-routing-key"),
            traces=exchange.traces(len(texts)),
            caller=exchange.share_key,
        )
        exchange.served = found.facts()
        results = [_item(index, answer) for index, answer in enumerate(found.answers)]
        rendered = {
            "results": results,
            "total": len(results),
            "failed": sum(result["error"] is not None for result in results),
        } | _identity(found.model, exchange)
        answered = [answer for answer in found.answers if isinstance(answer, Answer)]
        headers = _headers(found.model, exchange, answered)
        await exchange.answer(200, orjson.dumps(rendered), headers)


def _item(index: int, answer: Answer | RequestError) -> dict[str, object]:
    if isinstance(answer, RequestError):
        return {"index": index, "prediction": None, "error": error_body(answer)}
    return {"index": index, "prediction": answer.body(), "error": None}


def _identity(model: ServedVersion, exchange: Exchange) -> dict[str, object]:
    return {
        "model_name": model.name,
        "model_version": model.version,
        "model_digest": model.digest,
        "backend": BACKENDS[model.kind],
        "inference_time_ms": round((time.monotonic() - exchange.started_s) * 1_000, 3),
    }


def _headers(model: ServedVersion, exchange: Exchange, answers: Iterable[Answer]) -> dict[str, str]:
    """``Server-Timing`` with the longest time of each stage, and the engine."""
    stages: dict[str, float] = {}
    for answer in answers:
        for stage, seconds in answer.outcome.stages_s.items():
            stages[stage] = max(stages.get(stage, 0.0), seconds)
    stages["total"] = time.monotonic() - exchange.started_s
    timing = ", ".join(f"{stage};dur={seconds * 1_000:.2f}" for stage, seconds in stages.items())
    return {"server-timing": timing, "x-model-backend": BACKENDS[model.kind]}
