"""The Cache deployment: the shared cache in this process's memory or in Redis."""

from configs.schema.app import AppConfig
from deployments.cache.redis import RedisCacheReplica
from deployments.clients.redis import RedisCredentials


class RedisCache(RedisCacheReplica):
    """The Cache deployment with Redis; credentials that Vault changes are used from then on."""

    async def __init__(self, config: AppConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        login = RedisCredentials(config.redis, leased=bool(config.vault.redis_role))
        super().__init__(config, login)
        if config.vault.enabled:
            # Half a second of imports that replicas without Vault do not need.
            from deployments.clients.vault import SecretWatch  # noqa: PLC0415

            self._secrets = SecretWatch(config.vault, {}, login=login)
            await self._secrets.start()
