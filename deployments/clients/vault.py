"""Secrets and leased credentials from Vault: read again, renewed, replaced before they end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from configs.errors import ConfigError, SecretsError
from configs.schema.dependencies import VaultConfig
from deployments.telemetry.background import keep_running
from deployments.telemetry.metrics import Metrics

if TYPE_CHECKING:
    # Half a second of imports that replicas without Vault or Redis do not need.
    from configs.sources.vault import Credentials, VaultSecrets
    from deployments.clients.redis import RedisCredentials


_log = logging.getLogger("ray.serve.sentigraph")


class VaultLease:
    """One role's credentials. Not thread-safe."""

    def __init__(
        self,
        vault: VaultSecrets,
        role: str,
        login: RedisCredentials,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Requests nothing yet.

        Args:
            vault: Gives the credentials.
            role: A role of the database engine.
            login: Gets each new username and password.
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
            SecretsError: Vault fails; the present credentials stay until they end.
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
        self._login.set_credentials(given.username, given.password)
        self._given = given
        self._note(given.duration_s)

    def _note(self, left_s: float) -> None:
        now = self._clock()
        self._ends_s, self._renew_s = now + left_s, now + left_s / 2


class SecretWatch:
    """Keeps some secrets current. One in each replica that uses any."""

    def __init__(
        self,
        config: VaultConfig,
        using: Mapping[str, Callable[[str], object]],
        metrics: Metrics | None = None,
        login: RedisCredentials | None = None,
    ) -> None:
        """Reads nothing yet.

        Args:
            config: Where Vault is.
            using: What takes a new value, by dotted setting; it refuses one by ConfigError.
            metrics: Counts reads and rotations, if given.
            login: To Redis; gets ``redis.password``, or the credentials of ``vault.redis_role``.
        """
        from configs.sources.vault import VaultSecrets  # noqa: PLC0415

        self._config = config
        self._using = using
        self._metrics = metrics
        self._vault = VaultSecrets(config)
        self._values: dict[str, str] = {}
        self._lease: VaultLease | None = None
        if login is not None and config.redis_role:
            self._lease = VaultLease(self._vault, config.redis_role, login)
        elif login is not None:
            self._using = {**using, "redis.password": login.set_password}
        if metrics is not None:
            # At 0 from the start, so that the first failure or rotation shows as a rise.
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
        """Reads now, and from then on every ``vault.refresh_ms``."""
        await self.refresh()
        self._running = keep_running(self._repeat, "reading secrets")

    def stop(self) -> None:
        """Stops reading."""
        if self._running is not None:
            self._running.cancel()

    async def refresh(self) -> None:
        """Reads once and passes on what has changed; keeps the last values when Vault fails."""
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
                self._pass_on(name, value)

    def _read(self) -> dict[str, str]:
        found = self._vault.read(tuple(self._using))
        if self._lease is not None:
            self._lease.keep()
        return found

    def _pass_on(self, name: str, value: str) -> None:
        try:
            self._using[name](value)
        except ConfigError as error:
            _log.error("secret %s is refused, the one before stays: %s", name, error)
        else:
            _log.info("secret %s was read", name)

    async def _repeat(self) -> None:
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


async def watch_secrets(
    config: VaultConfig,
    using: Mapping[str, Callable[[str], object]],
    metrics: Metrics | None = None,
    login: RedisCredentials | None = None,
) -> SecretWatch | None:
    """A started ``SecretWatch``, after its first read; None where Vault is off."""
    if not config.enabled:
        return None
    watch = SecretWatch(config, using, metrics, login)
    await watch.start()
    return watch
