"""The two clients. Both carry out the same flows; they differ in how they wait."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self, TypeVar

import httpx2

from sentigraph_client._attempts import RetryBudget, Settings, execute
from sentigraph_client._call import AsyncResource, Flow, Send, Sleep, SyncResource
from sentigraph_client._predictions import AsyncPredictions, Predictions
from sentigraph_client._transport import send_async, send_sync
from sentigraph_client.jobs import AsyncJobs, Jobs
from sentigraph_client.kpis import AsyncKpis, Kpis
from sentigraph_client.models import AsyncModels, Models
from sentigraph_client.monitoring import AsyncMonitoring, Monitoring
from sentigraph_client.open_inference import AsyncOpenInference, OpenInference
from sentigraph_client.releases import AsyncReleases, Releases
from sentigraph_client.reviews import AsyncReviews, Reviews
from sentigraph_client.server import AsyncServer, Server
from sentigraph_client.versions import AsyncVersions, Versions

T = TypeVar("T")
Credential = str | Callable[[], str]
_URL = "http://127.0.0.1:8000"


def _settings(
    api_key: Credential | None,
    bearer_token: Credential | None,
    actor: str | None,
    timeout_s: float,
    max_retries: int,
) -> Settings:
    api_key = api_key or os.environ.get("SENTIGRAPH_API_KEY")
    try:
        release = version("sentigraph-client")
    except PackageNotFoundError:
        release = "0"

    def headers() -> Mapping[str, str]:
        found = {"User-Agent": f"sentigraph-client/{release} httpx2/{httpx2.__version__}"}
        if api_key:
            found["X-API-Key"] = api_key() if callable(api_key) else api_key
        if bearer_token:
            token = bearer_token() if callable(bearer_token) else bearer_token
            found["Authorization"] = f"Bearer {token}"
        if actor:
            found["X-Actor"] = actor
        return found

    return Settings(headers, timeout_s, max_retries, RetryBudget())


def _address(base_url: str | None) -> str:
    return (base_url or os.environ.get("SENTIGRAPH_URL") or _URL).rstrip("/")


class Client(Predictions, SyncResource):
    """A server, asked from plain code. Safe to use from several threads."""

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: Credential | None = None,
        bearer_token: Credential | None = None,
        actor: str | None = None,
        timeout_s: float = 30.0,
        max_retries: int = 2,
        http_client: httpx2.Client | None = None,
    ) -> None:
        """Connects with the first request.

        Args:
            base_url: Else the environment's SENTIGRAPH_URL, else this machine's port 8000.
            api_key: The key, or what returns it, asked for each try; else SENTIGRAPH_API_KEY.
            bearer_token: A token of the identity provider, or what returns it.
            actor: Who asks, for the audit ledger of a server that knows no callers.
            timeout_s: Of a call, all its tries together; the deadline that predictions carry.
            max_retries: Tries after the first.
            http_client: For proxies, certificates or tests; it stays open.
        """
        super().__init__(self)
        self._url = _address(base_url)
        self._settings = _settings(api_key, bearer_token, actor, timeout_s, max_retries)
        self._owned = http_client is None
        self._http = http_client or httpx2.Client()
        self._sleep: Callable[[float], None] = time.sleep
        self._bind()

    def _bind(self) -> None:
        self.runner = self
        self.jobs = Jobs(self)
        self.models = Models(self)
        self.versions = Versions(self)
        self.releases = Releases(self)
        self.server = Server(self)
        self.kpis = Kpis(self)
        self.monitoring = Monitoring(self)
        self.reviews = Reviews(self)
        self.open_inference = OpenInference(self)

    def with_options(
        self, *, timeout_s: float | None = None, max_retries: int | None = None
    ) -> Self:
        """The same client with other limits; connections and retry budget are shared."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._settings = _changed(self._settings, timeout_s, max_retries)
        other._owned = False
        other._bind()
        return other

    def run(self, flow: Flow[T]) -> T:
        """Carries out a flow."""
        steps: Generator[Send | Sleep, Any, T] = execute(flow, self._settings)
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            if isinstance(step, Sleep):
                self._sleep(step.seconds)
                outcome = None
            else:
                outcome = send_sync(self._http, self._url, step)

    def close(self) -> None:
        """Closes the connections, unless they were given."""
        if self._owned:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(AsyncPredictions, AsyncResource):
    """A server, asked from asyncio. For one event loop."""

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: Credential | None = None,
        bearer_token: Credential | None = None,
        actor: str | None = None,
        timeout_s: float = 30.0,
        max_retries: int = 2,
        http_client: httpx2.AsyncClient | None = None,
    ) -> None:
        """See ``Client``."""
        super().__init__(self)
        self._url = _address(base_url)
        self._settings = _settings(api_key, bearer_token, actor, timeout_s, max_retries)
        self._owned = http_client is None
        self._http = http_client or httpx2.AsyncClient()
        self._sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
        self._bind()

    def _bind(self) -> None:
        self.runner = self
        self.jobs = AsyncJobs(self)
        self.models = AsyncModels(self)
        self.versions = AsyncVersions(self)
        self.releases = AsyncReleases(self)
        self.server = AsyncServer(self)
        self.kpis = AsyncKpis(self)
        self.monitoring = AsyncMonitoring(self)
        self.reviews = AsyncReviews(self)
        self.open_inference = AsyncOpenInference(self)

    def with_options(
        self, *, timeout_s: float | None = None, max_retries: int | None = None
    ) -> Self:
        """The same client with other limits; connections and retry budget are shared."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._settings = _changed(self._settings, timeout_s, max_retries)
        other._owned = False
        other._bind()
        return other

    async def run(self, flow: Flow[T]) -> T:
        """Carries out a flow."""
        steps: Generator[Send | Sleep, Any, T] = execute(flow, self._settings)
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            if isinstance(step, Sleep):
                await self._sleep(step.seconds)
                outcome = None
            else:
                outcome = await send_async(self._http, self._url, step)

    async def close(self) -> None:
        """Closes the connections, unless they were given."""
        if self._owned:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _changed(settings: Settings, timeout_s: float | None, max_retries: int | None) -> Settings:
    return replace(
        settings,
        timeout_s=settings.timeout_s if timeout_s is None else timeout_s,
        max_retries=settings.max_retries if max_retries is None else max_retries,
    )
