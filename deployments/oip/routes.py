"""The Open Inference Protocol v2 over HTTP, so that KServe and Triton clients can ask.

The live version, limits, caches and answers are those of ``POST /predict``. The protocol has no
error for a single text, so one text that is refused refuses the request. ``grpc_service.py`` is the
same protocol over gRPC.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from importlib.metadata import version

import orjson

from configs.schema.app import LimitsConfig
from deployments.asgi.exchange import Exchange
from deployments.errors import MethodNotAllowed, NotFound, RequestError
from deployments.inference.predictor import Predictor
from deployments.inference.validation import check_count
from deployments.oip.codec import Tensor, read_request, write_answer
from deployments.predictions import Answer, applying
from deployments.versions import CurrentRoutes, ServedVersion

OIP = "/v2"
_SERVER_ROUTES = (OIP, f"{OIP}/health/live", f"{OIP}/health/ready")
_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(/ready|/infer)?")
_JSON_BYTES = "inference-header-content-length"
_BINARY = "application/octet-stream"
_INPUT = "text"


class OpenInference:
    """Everything below ``/v2``."""

    def __init__(
        self,
        predictor: Predictor,
        routes: CurrentRoutes,
        ready: Callable[[], Awaitable[object]],
        limits: LimitsConfig,
        app_name: str,
    ) -> None:
        self._predictor = predictor
        self._routes = routes
        self._ready = ready
        self._limits = limits
        self.server = {"name": app_name, "version": version("sentigraph")}

    async def handle(self, exchange: Exchange) -> None:
        """Answers; failures have the usual body with the protocol's ``error`` in it."""
        try:
            await self._handle(exchange)
        except RequestError as error:
            await exchange.fail(error, {"error": error.message})

    async def _handle(self, exchange: Exchange) -> None:
        path = exchange.path
        found = _MODEL.fullmatch(path)
        if found is None:
            exchange.endpoint = path if path in _SERVER_ROUTES else exchange.endpoint
            await self._server_route(exchange, path)
            return
        name, number, action = found.groups()
        exchange.endpoint = f"{OIP}/models/{{name}}{action or ''}"
        _allow(exchange, "POST" if action == "/infer" else "GET")
        model = self.find(name, number)
        if action == "/infer":
            await self._infer(exchange, model if number else None)
        elif action == "/ready":
            await self._answer_ready(exchange)
        else:
            await exchange.answer(200, orjson.dumps(metadata(model)))

    def find(self, name: str, number: str | None) -> ServedVersion:
        """The live version by its name and, if any is given, its number.

        Raises:
            NotFound: Another name or number.
        """
        model = self._routes.table.champion
        if name != model.name or (number or str(model.version)) != str(model.version):
            raise NotFound("no such model or version is live here")
        return model

    async def classify(
        self,
        exchange: Exchange,
        texts: Sequence[str],
        deadline_s: float,
        pinned: ServedVersion | None,
    ) -> tuple[ServedVersion, list[Tensor]]:
        """The version that answers and its outputs.

        Raises:
            RequestError: What refuses the request, or why a text of it has no answer.
        """
        bulk = exchange.bulk(default=True)
        check_count(texts, self._limits)
        found = await self._predictor.predict(
            texts,
            deadline_s=deadline_s,
            bulk=bulk,
            key=exchange.header("x-routing-key"),
            pinned=pinned,
            all_or_none=True,
            traces=exchange.traces(len(texts)),
            caller=exchange.share_key,
        )
        exchange.served = found.facts()
        answers = []
        for answer in found.answers:
            if isinstance(answer, RequestError):
                raise answer
            answers.append(answer)
        return found.model, _tensors(found.model, answers)

    async def _server_route(self, exchange: Exchange, path: str) -> None:
        if path == OIP:
            _allow(exchange, "GET")
            extensions = ["binary_tensor_data"]
            await exchange.answer(200, orjson.dumps({**self.server, "extensions": extensions}))
        elif path == f"{OIP}/health/live":
            _allow(exchange, "GET")
            await exchange.answer(200, b'{"live":true}')
        elif path == f"{OIP}/health/ready":
            _allow(exchange, "GET")
            await self._answer_ready(exchange)
        else:
            raise NotFound("no such route of the Open Inference Protocol")

    async def _answer_ready(self, exchange: Exchange) -> None:
        await self._ready()
        await exchange.answer(200, b'{"ready":true}')

    async def _infer(self, exchange: Exchange, pinned: ServedVersion | None) -> None:
        deadline_s = exchange.deadline_s(self._limits)
        body = await exchange.body(self._limits, deadline_s, ("application/json", _BINARY))
        asked = read_request(body, exchange.header(_JSON_BYTES))
        model, tensors = await self.classify(exchange, asked.texts, deadline_s, pinned)
        head = {"model_name": model.name, "model_version": str(model.version)}
        answer, json_bytes = write_answer(head, tensors, asked)
        if json_bytes is None:
            await exchange.answer(200, answer)
        else:
            await exchange.answer(200, answer, {_JSON_BYTES: str(json_bytes)}, _BINARY)


def _tensors(model: ServedVersion, answers: Sequence[Answer]) -> list[Tensor]:
    n = len(answers)
    scores = [score for answer in answers for score in answer.scores.values()]
    predictions = [answer.outcome.prediction for answer in answers]
    return [
        Tensor("label", "BYTES", (n,), [answer.label for answer in answers]),
        Tensor("score", "FP32", (n,), [answer.scores[answer.label] for answer in answers]),
        Tensor("scores", "FP32", (n, len(model.labels)), scores),
        Tensor("n_tokens", "INT32", (n,), [each.n_tokens for each in predictions]),
        Tensor("truncated", "BOOL", (n,), [each.truncated for each in predictions]),
        *_applies(model, answers),
    ]


def _applies(model: ServedVersion, answers: Sequence[Answer]) -> Iterator[Tensor]:
    """Of a multi-label model, which labels apply: a row for each text, in the order of scores."""
    if model.head.task == "multi_label":
        found = [applying(model.head, answer.scores) or () for answer in answers]
        values = [label in row for row in found for label in model.labels]
        yield Tensor("applies", "BOOL", (len(answers), len(model.labels)), values)


def metadata(model: ServedVersion) -> dict[str, object]:
    """What the protocol says of a model."""
    outputs = [
        ("label", "BYTES", [-1]),
        ("score", "FP32", [-1]),
        ("scores", "FP32", [-1, len(model.labels)]),
        ("n_tokens", "INT32", [-1]),
        ("truncated", "BOOL", [-1]),
    ]
    if model.head.task == "multi_label":
        outputs.append(("applies", "BOOL", [-1, len(model.labels)]))
    return {
        "name": model.name,
        "versions": [str(model.version)],
        "platform": f"sentigraph_{model.kind}",
        "inputs": [{"name": _INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": n, "datatype": d, "shape": s} for n, d, s in outputs],
        "parameters": {
            "labels": list(model.labels),
            "digest": model.digest,
            "task": model.head.task,
            "activation": model.head.activation,
            "thresholds": list(model.head.thresholds),
        },
    }


def _allow(exchange: Exchange, method: str) -> None:
    if exchange.method != method:
        raise MethodNotAllowed.of(exchange.method, method)
