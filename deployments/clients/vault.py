"""Credentials that Vault makes for us and takes back: kept alive, replaced before they end."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from configs.errors import ConfigError, SecretsError
from configs.schema.dependencies import VaultConfig
from configs.sources.vault import Credentials, VaultSecrets
from deployments.telemetry.metrics import Metrics


class RedisLogin(Protocol):
    """Who logs in to Redis."""

    def replace(self, password: str) -> None:
        """Another password of the same user, from now on."""
        ...

    def become(self, username: str, password: str) -> None:
        """Another user, from now on."""
        ...


class VaultLease:
    """One role's credentials. Not thread-safe."""

    def __init__(
        self,
        vault: VaultSecrets,
        role: str,
        login: RedisLogin,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Asks for nothing yet.

        Args:
            vault: Where they come from.
            role: Of the database engine.
            login: Is told of each new username and password.
            clock: Seconds; for tests.
        """
        self._vault = vault
        self._role = role
        self._login = login
        self._clock = clock
        self._given: Credentials | None = None
        self._ends_s = 0.0
        self._renew_s = 0.0

    @property
    def ends_in_s(self) -> float:
        """Seconds until the credentials end; 0 before there are any."""
        return max(0.0, self._ends_s - self._clock()) if self._given else 0.0

    def keep(self) -> None:
        """Renews in the second half of the lease's life; takes new ones where that is not enough.

        Raises:
            SecretsError: Vault does not do it; those before are in use until they end.
        """
        now = self._clock()
        if self._given is None or now >= self._ends_s:
            self._take()
        elif now >= self._renew_s:
            try:
                left_s = self._vault.renew(self._given.lease_id)
            except SecretsError:
                self._take()  # the lease may have ended, or been taken back
                return
            # Near its longest life a lease is renewed for less than it was given for.
            if left_s < self._given.duration_s / 2:
                self._take()
            else:
                self._note(left_s)

    def _take(self) -> None:
        given = self._vault.credentials(self._role)
        self._login.become(given.username, given.password)
        self._given = given
        self._note(given.duration_s)

    def _note(self, left_s: float) -> None:
        now = self._clock()
        self._ends_s, self._renew_s = now + left_s, now + left_s / 2


_log = logging.getLogger("ray.serve.sentigraph")


class SecretWatch:
    """Keeps some secrets current. One in each replica that uses any."""

    def __init__(
        self,
        config: VaultConfig,
        using: Mapping[str, Callable[[str], object]],
        metrics: Metrics | None = None,
        login: RedisLogin | None = None,
    ) -> None:
        """Reads nothing yet.

        Args:
            config: Where Vault is.
            using: Who is told of a new value, by dotted setting; refuses one by ConfigError.
            metrics: Where facts are counted, if anywhere.
            login: To Redis: kept to ``redis.password``, or to what ``vault.redis_role`` gives.
        """
        self._config = config
        self._using = using
        self._metrics = metrics
        self._vault = VaultSecrets(config)
        self._values: dict[str, str] = {}
        self._lease: VaultLease | None = None
        if login is not None and config.redis_role:
            self._lease = VaultLease(self._vault, config.redis_role, login)
        elif login is not None:
            self._using = {**using, "redis.password": login.replace}
        if metrics is not None:
            # At 0 from the start: a first failure or rotation is a rise that can be seen.
            for result in ("ok", "error"):
                metrics.vault_reads.labels(result)
            for name in self._using:
                metrics.vault_rotations.labels(name)
        self._well = False
        self._running: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """``ok``, or ``degraded: …`` while the last known values are in use."""
        return "ok" if self._well else "degraded: Vault does not answer, last values are in use"

    async def start(self) -> None:
        """Reads, and begins to do so every ``vault.refresh_ms``."""
        await self.refresh()
        self._running = asyncio.create_task(self._for_ever())

    def stop(self) -> None:
        """Reads no more."""
        if self._running is not None:
            self._running.cancel()

    async def refresh(self) -> None:
        """Reads once and tells of what has changed; keeps what was when Vault fails."""
        started = time.monotonic()
        try:
            found = await asyncio.to_thread(self._read)
        except SecretsError as error:
            _log.warning("secrets stay as they were: %s", error)
            self._count("error", started)
            return
        self._count("ok", started)
        for name, value in found.items():
            if self._values.get(name) != value:
                if self._metrics is not None and name in self._values:
                    self._metrics.vault_rotations.labels(name).inc()
                self._values[name] = value
                self._tell(name, value)

    def _read(self) -> dict[str, str]:
        found = self._vault.read(tuple(self._using))
        if self._lease is not None:
            self._lease.keep()
        return found

    def _tell(self, name: str, value: str) -> None:
        try:
            self._using[name](value)
        except ConfigError as error:
            _log.error("secret %s is refused, the one before stays: %s", name, error)
        else:
            _log.info("secret %s was read", name)

    async def _for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._config.refresh_ms / 1_000)
            await self.refresh()

    def _count(self, result: str, started: float) -> None:
        self._well = result == "ok"
        if self._metrics is None:
            return
        self._metrics.vault_up.set(result == "ok")
        self._metrics.vault_reads.labels(result).inc()
        self._metrics.vault_seconds.observe(time.monotonic() - started)
        self._metrics.vault_login_seconds.set(self._vault.login_ends_in_s)
        if self._lease is not None:
            self._metrics.vault_lease_seconds.set(self._lease.ends_in_s)
