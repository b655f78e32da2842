"""Both clients over a scripted transport, with a clock that only their pauses move."""

import asyncio
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from sentigraph_client import AsyncClient, Client

Step = httpx2.Response | Exception | Callable[[httpx2.Request], httpx2.Response]
PREDICTION = {
    "prediction_id": "6f1d1f5e-6b0c-4b5e-9d57-0a4f6f3f1d10",
    "label": "POSITIVE",
    "score": 0.9,
    "scores": {"POSITIVE": 0.9, "NEGATIVE": 0.1},
    "n_tokens": 4,
    "truncated": False,
    "cached": False,
    "text_length": 5,
    "model_name": "sentiment",
    "model_version": 1,
    "model_digest": "a" * 64,
    "backend": "onnx",
    "inference_time_ms": 1.0,
}


def failure(status: int, code: str = "", **headers: str) -> httpx2.Response:
    """An error of the server."""
    body = {
        "error_code": code,
        "error_message": "no",
        "status_code": status,
        "correlation_id": "c-1",
        "context": {"field": "text"},
    }
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, json=body, headers=named)


class Harness:
    """One client, sync or async, whose calls are written alike.

    Attributes:
        requests: Sent so far.
        pauses: Seconds slept, in order.
    """

    def __init__(self, kind: str, script: Sequence[Step], options: dict[str, Any]) -> None:
        self.requests: list[httpx2.Request] = []
        self.pauses: list[float] = []
        self.now_s = 0.0
        self.seconds_per_try = 0.0
        self._script = list(script)
        transport = httpx2.MockTransport(self._answer)
        self._client: Any
        if kind == "sync":
            http = httpx2.Client(transport=transport)
            self._client = Client("http://test", http_client=http, **options)
            self._client._sleep = self._pause
        else:
            self._client = AsyncClient(
                "http://test", http_client=httpx2.AsyncClient(transport=transport), **options
            )
            self._client._sleep = self._pause_async
        settings = self._client._settings
        clocked = replace(settings, clock=lambda: self.now_s, jitter=lambda: 1.0)
        self._client._settings = clocked

    def do(self, ask: Callable[[Any], Any]) -> Any:
        """What ``ask`` makes of the client: a value, or a list of what is iterated."""

        async def awaited() -> Any:
            value = ask(self._client)
            if inspect.isasyncgen(value):
                return [item async for item in value]
            return await value if inspect.isawaitable(value) else value

        if isinstance(self._client, AsyncClient):
            return asyncio.run(awaited())
        value = ask(self._client)
        return list(value) if inspect.isgenerator(value) else value

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        self.now_s += self.seconds_per_try
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(step, Exception):
            raise step
        if callable(step):
            request.read() if hasattr(request, "_content") else None
            return step(request)
        return httpx2.Response(
            step.status_code, content=step.content, headers=dict(step.headers.items())
        )

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds

    async def _pause_async(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self._pause(seconds)


Make = Callable[..., Harness]


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a client of each kind over a script; the last step is repeated."""

    def make_harness(*script: Step, **options: Any) -> Harness:
        return Harness(request.param, script, options)

    yield make_harness


@pytest.fixture
def prediction() -> dict[str, Any]:
    """The body of a prediction."""
    return dict(PREDICTION)


@pytest.fixture
def failed() -> Callable[..., httpx2.Response]:
    """Makes an error of the server."""
    return failure
