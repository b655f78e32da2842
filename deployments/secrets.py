"""Secrets while running: read again from Vault every few seconds, told to who uses them.

A rotated secret needs no restart. While Vault is sealed or away, the last values stay in use,
and the metrics say so. A secret that is removed in Vault stays too: to revoke every API key,
write an empty list.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from configs.dependencies import VaultConfig
from configs.errors import ConfigError, SecretsError
from configs.secrets import VaultSecrets
from deployments.lease import Lease, RedisLogin
from deployments.metrics import Metrics

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
        self._lease: Lease | None = None
        if login is not None and config.redis_role:
            self._lease = Lease(self._vault, config.redis_role, login)
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
