"""The real ingress in this process: its handles call plain functions instead of replicas.

Not a fake of the ingress, only of the RPC below it, so that the effect of a setting on
HTTP answers can be seen in milliseconds.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np

from configs.schema.app import AppConfig
from deployments.app import mounts
from deployments.cache.memory import CacheReplica
from deployments.inference.second_try import SecondTry
from deployments.ingress.deployment import Ingress
from deployments.ingress.mounts import Upstreams
from deployments.payloads import FeedbackResult, ModelAnswer, ScoreBatch, TextBatch
from deployments.serve_options import EngineShare
from deployments.transport.handles import remote_tokenizer
from deployments.versions import RoutingTable, ServedVersion

LIVE = ServedVersion("m", 3, "ab" * 32, ("NEG", "POS"), "onnx", "int8", 128, "registry")
ROUTES = RoutingTable(1, LIVE)


class LocalHandle:
    """Like a ``DeploymentHandle``: ``handle.method.remote(x)`` awaits ``target.method(x)``."""

    def __init__(self, target: object) -> None:
        self._target = target

    def options(self, **_: object) -> "LocalHandle":
        return self

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
        return type("Method", (), {"remote": staticmethod(method)})


async def no_stages(*_: object) -> None:
    """In place of ``open_stages``: every text takes the handle that a test gives."""


class Stages:
    """Tokenizer and model as one function; ``delay_s`` makes it slow."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.sizes: list[int] = []
        self.asked: list[str] = []
        self.counted: list[tuple[str, str]] = []
        self.not_counted: list[str] = []
        self.elsewhere: FeedbackResult | None = None
        self.running = 0
        self.most_running = 0
        self.table = ROUTES

    async def routes(self) -> RoutingTable:
        return self.table

    async def reviewed(self, prediction_id: str, label: str) -> FeedbackResult | None:
        """What Insight has releases count."""
        self.counted.append((prediction_id, label))
        return self.elsewhere

    async def missed(self, why: str) -> None:
        """What Insight says counts for no release."""
        self.not_counted.append(why)

    async def judge(self, prediction_id: str, label: str) -> FeedbackResult | None:
        """What other ingress replicas say of an answer."""
        self.asked.append(prediction_id)
        return self.elsewhere

    async def classify(self, batch: TextBatch) -> ModelAnswer:
        n = len(batch.texts)
        self.sizes.append(n)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(self.delay_s)
        self.running -= 1
        zeros = np.zeros(n, dtype=np.float32)
        scores = np.tile(np.array([0.25, 0.75], dtype=np.float32), (n, 1))
        return ModelAnswer(
            ScoreBatch(
                batch.digest,
                scores,
                np.zeros(n, dtype=np.bool_),
                np.zeros(n, dtype=np.bool_),
                zeros,
                zeros,
                np.full(n, self.delay_s or 1e-3, dtype=np.float32) / n,
                np.array([[n, 5 * n, 5 * n, 1e-3, 1e-3]], dtype=np.float32),
            ),
            np.full(n, 5, dtype=np.int32),
            np.zeros(n, dtype=np.bool_),
            0.0,
        )


# The class as it is written, below what @serve.ingress puts around it.
class Written(Ingress.__mro__[1]):  # type: ignore[misc]
    """An ingress that asks its tokenizer stage by calls, as one does that has no sockets."""

    async def open_stages(self, config: Any, share: Any, upstreams: Any) -> Any:
        run_texts = remote_tokenizer(upstreams.tokenizer)
        return SecondTry(run_texts, self._metrics.retries.inc).run


Body = Callable[[httpx.AsyncClient], Awaitable[None]]


def with_front(
    config: AppConfig,
    body: Body,
    *,
    stages: Stages | None = None,
    cache: CacheReplica | None = None,
    hops: int = 1,
) -> None:
    """Runs ``body`` with a client of an ingress made of ``config``."""

    async def run() -> None:
        async with make_front(config, stages or Stages(), cache, hops) as app:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                await body(client)

    asyncio.run(asyncio.wait_for(run(), 20))


@asynccontextmanager
async def make_front(
    config: AppConfig, stages: Stages, cache: CacheReplica | None = None, hops: int = 1
) -> AsyncIterator[Any]:
    """The ASGI application of an ingress made of ``config``."""
    async with made_ingress(config, stages, cache, hops) as ingress:
        yield ingress.__serve_build_asgi_app__()


@asynccontextmanager
async def made_ingress(
    config: AppConfig, stages: Stages, cache: CacheReplica | None = None, hops: int = 1
) -> AsyncIterator[Any]:
    """An ingress made of ``config``."""
    ingress = Written.__new__(Written)
    await Written.__init__(  # type: ignore[misc]
        ingress,
        config,
        EngineShare(hops, 1.0),
        Upstreams(
            registry=LocalHandle(stages),
            tokenizer=LocalHandle(stages),
            cache=LocalHandle(cache) if cache is not None else None,
            mounts=mounts(config, LocalHandle(stages), None, None),
        ),
    )
    yield ingress
    if config.access.required:
        await ingress._gate.close()
    ingress.__del__()
