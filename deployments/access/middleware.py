"""Checks every request before its route: caller, role, rate, requests at once.

The ingress has none of it while ``access.required`` is false. Keys and the identity
provider's public keys are replaced while running; a request only looks into memory.
"""

import asyncio
import json
import logging
import ssl
from collections.abc import Callable
from functools import cache
from pathlib import Path

import httpx
import jwt

from configs.schema.access import AccessConfig
from configs.schema.app import AppConfig
from deployments.access.concurrency_limit import ReplicaSlots, SharedSlots, Slots
from deployments.access.credentials import Caller, KeyRing, Tokens
from deployments.access.rate_limit import Rates, ReplicaRates, SharedRates, TokenBuckets
from deployments.access.roles import needed
from deployments.asgi.exchange import Exchange, Route
from deployments.clients.redis import RedisCredentials
from deployments.clients.vault import SecretWatch
from deployments.errors import Forbidden, RateLimited, Unauthorized
from deployments.telemetry.background import keep_running
from deployments.telemetry.metrics import Metrics

_log = logging.getLogger("ray.serve.sentigraph")
# Of the whole answer, however slowly it comes.
_FETCH_TIMEOUT_S = 5.0
_MAX_JWKS_BYTES = 1 << 20
_FAILURES_WITHIN_S = 60.0


class Access:
    """Admits requests to the routes behind it."""

    def __init__(
        self,
        config: AccessConfig,
        keys: KeyRing,
        metrics: Metrics,
        *,
        rates: Rates,
        slots: Slots,
        secrets: SecretWatch | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            config: What is required.
            keys: API keys as they are now.
            metrics: Where refusals are counted.
            rates: Counts requests.
            slots: Counts those that run.
            secrets: Keeps the keys current, if Vault has them.
        """
        self._config = config
        self._keys = keys
        self._tokens = Tokens(config)
        self._rates = rates
        self._secrets = secrets
        self._refusals = metrics.access_refusals
        self._public = frozenset(config.public)
        self._slots = slots
        self._failures = TokenBuckets()
        self._refreshing: asyncio.Task[None] | None = None

    def secrets_state(self) -> str | None:
        """See ``SecretWatch.state``; None where nothing comes from Vault."""
        return None if self._secrets is None else self._secrets.state

    async def start(self) -> None:
        """Reads the provider's keys and keeps reading them, and the secrets."""
        if self._secrets is not None:
            await self._secrets.start()
        if self._config.jwt.jwks:
            await self.refresh()
            self._refreshing = keep_running(self._keep_refreshing, "reading the provider's keys")

    async def close(self) -> None:
        """Stops reading and ends the connections; the keys stay as they are."""
        if self._secrets is not None:
            self._secrets.stop()
        if self._refreshing is not None:
            self._refreshing.cancel()
        await self._rates.close()
        await self._slots.close()

    def around(self, route: Route) -> Route:
        """Returns the route behind these checks."""

        async def guarded(exchange: Exchange) -> None:
            need = needed(exchange.method, exchange.path)
            if need in self._public:
                await route(exchange)
                return
            caller = self._admit(exchange, need)
            exchange.caller = caller.id
            await self._pace(caller)
            await self._run(caller, route, exchange)

        return guarded

    async def refresh(self) -> None:
        """Reads the provider's keys once; when that fails, those before stay."""
        source = self._config.jwt.jwks
        try:
            async with asyncio.timeout(_FETCH_TIMEOUT_S):
                document = await _read_jwks(source)
            self._tokens.replace(json.loads(document))
        except (OSError, ValueError, AttributeError, httpx.HTTPError, jwt.PyJWTError) as error:
            _log.warning("the identity provider's keys cannot be read: %s", type(error).__name__)

    async def _keep_refreshing(self) -> None:
        while True:
            await asyncio.sleep(self._config.jwt.refresh_s)
            await self.refresh()

    def _admit(self, exchange: Exchange, need: str) -> Caller:
        try:
            caller = self._caller(exchange)
        except Unauthorized:
            self._refusals.labels("unauthenticated").inc()
            raise
        except RateLimited:
            self._refusals.labels("throttled").inc()
            raise
        # A public kind that is not public here needs any key.
        if need not in ("service", "health", "metrics", "docs") and not caller.may(need):  # type: ignore[arg-type]
            self._refusals.labels("role").inc()
            raise Forbidden(f"this needs the role {need}", {"role": need})
        return caller

    def _caller(self, exchange: Exchange) -> Caller:
        key = exchange.header("x-api-key")
        if key is not None:
            return self._try(exchange, key, self._keys.find)
        scheme, _, token = (exchange.header("authorization") or "").partition(" ")
        if scheme.lower() == "bearer" and self._config.jwt.jwks:
            return self._try(exchange, token.strip(), self._tokens.find)
        raise Unauthorized("send an API key in the header X-API-Key")

    def _try(self, exchange: Exchange, credential: str, find: Callable[[str], Caller]) -> Caller:
        """Returns whose credential it is; one that is right is never refused for others' wrong.

        Raises:
            Unauthorized: It is wrong.
            RateLimited: It is wrong, as many others of that address within a minute were.
        """
        try:
            return find(credential)
        except Unauthorized:
            most = self._config.max_failed_logins
            per_s = most / _FAILURES_WITHIN_S
            wait_s = self._failures.take(exchange.address, per_s, most) if most else 0.0
            if not wait_s:
                raise
        raise RateLimited(
            "too many wrong keys from this address", {"retry_after_s": max(1, round(wait_s))}
        )

    async def _pace(self, caller: Caller) -> None:
        if not caller.requests_per_s:
            return
        wait_s = await self._rates.take(caller)
        if wait_s:
            self._refusals.labels("rate").inc()
            raise RateLimited(
                f"more than {caller.requests_per_s:g} requests per second",
                {"requests_per_s": caller.requests_per_s, "retry_after_s": max(1, round(wait_s))},
            )

    async def _run(self, caller: Caller, route: Route, exchange: Exchange) -> None:
        if not caller.max_concurrent:
            await route(exchange)
            return
        slot = await self._slots.enter(caller)
        if slot is None:
            self._refusals.labels("concurrency").inc()
            raise RateLimited(
                f"more than {caller.max_concurrent} requests at once",
                {"max_concurrent": caller.max_concurrent, "retry_after_s": 1},
            )
        try:
            await route(exchange)
        finally:
            await self._slots.leave(caller, slot)


@cache
def _tls() -> ssl.SSLContext:
    """Reading the authorities takes 50 ms, so it is done once."""
    return ssl.create_default_context()


async def _read_jwks(source: str) -> bytes:
    if not source.startswith(("http://", "https://")):
        return await asyncio.to_thread(Path(source).read_bytes)
    document = bytearray()
    async with (
        httpx.AsyncClient(verify=_tls(), follow_redirects=False) as client,
        client.stream("GET", source) as answer,
    ):
        answer.raise_for_status()
        async for part in answer.aiter_bytes():
            document += part
            if len(document) > _MAX_JWKS_BYTES:
                raise ValueError("more than a set of keys has")
    return bytes(document)


async def open_gate(config: AppConfig, metrics: Metrics) -> Access:
    """What ``access`` asks for, working; its keys and passwords stay current."""
    keys = KeyRing(config.access)
    login = RedisCredentials(config.redis, leased=bool(config.vault.redis_role))
    shared = config.access.rate_store == "redis"
    watch = None
    if config.vault.enabled:
        using = {"access.api_keys": keys.replace}
        watch = SecretWatch(config.vault, using, metrics, login if shared else None)
    rates: Rates = ReplicaRates(config.access.burst_s)
    slots: Slots = ReplicaSlots()
    if shared:
        rates = SharedRates(config, metrics, login)
        slots = SharedSlots(config, metrics, login)
    access = Access(config.access, keys, metrics, rates=rates, slots=slots, secrets=watch)
    await access.start()
    return access
