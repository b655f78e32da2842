"""The Cache deployment: the shared cache in this process's memory or in Redis."""

from ray.serve import Application

from configs.schema.app import AppConfig
from deployments.cache.memory import CacheReplica
from deployments.cache.redis import RedisCacheReplica
from deployments.clients.redis import RedisCredentials
from deployments.clients.vault import watch_secrets
from deployments.serve_options import AsyncReplica, deployment


class RedisCache(AsyncReplica, RedisCacheReplica):
    """The Cache deployment with Redis; uses the credentials that Vault has at the time."""

    async def setup(self, config: AppConfig) -> None:
        """Reads the first credentials; opens no connection yet."""
        login = RedisCredentials(config.redis, leased=bool(config.vault.redis_role))
        RedisCacheReplica.__init__(self, config, login)
        self._secrets = await watch_secrets(config.vault, {}, login=login)


def bind(config: AppConfig) -> Application | None:
    """The deployment; None where the shared level is off."""
    size = config.replicas.cache
    if config.level_two == "redis":
        return deployment(RedisCache, size, name="Cache").bind(config)
    if config.level_two == "memory":
        memory = deployment(CacheReplica, size, name="Cache", replicas=1)
        return memory.bind(config.cache.l2_max_bytes, config.cache.ttl_s)
    return None
