"""Redis credentials that a real OpenBao makes and takes back, used against a real Redis."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.harness.servers import RedisServer
from configs.errors import ConfigError, SecretsError
from configs.load import load_config
from configs.schema.app import AppConfig
from configs.schema.dependencies import VaultConfig
from configs.sources.vault import Credentials, VaultSecrets
from deployments.cache.redis import RedisCacheReplica
from deployments.clients.redis import RedisCredentials
from deployments.clients.vault import SecretWatch, VaultLease
from tests.system.openbao import Bao

ROOT = "r00t-of-redis"
POLICY = """
path "mlops-sentiment/*" { capabilities = ["read"] }
path "redis/creds/cache" { capabilities = ["read"] }
path "sys/leases/renew" { capabilities = ["update"] }
"""


@dataclass
class Servers:
    redis: RedisServer
    bao: Bao

    def config(self, **vault: object) -> AppConfig:
        token = self.bao.root.auth.token.create(policies=["leases"])["auth"]["client_token"]
        given = self.bao.settings(token=token, redis_role="cache", database_mount="redis", **vault)
        redis = {"host": "127.0.0.1", "port": self.redis.port}
        cache = {"l2": "redis"}
        return AppConfig.model_validate({"vault": given, "redis": redis, "cache": cache})

    def users(self) -> set[str]:
        names = self.redis.client().acl_list()
        return {name.split()[1] for name in names} - {"default"}


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with RedisServer(tmp_path, password=ROOT) as redis, Bao(tmp_path) as bao:
        bao.root.sys.create_or_update_policy("leases", POLICY)
        bao.root.sys.enable_secrets_engine("database", path="redis")
        connection = {
            "plugin_name": "redis-database-plugin",
            "host": "127.0.0.1",
            "port": redis.port,
            "username": "default",
            "password": ROOT,
            "allowed_roles": "cache",
        }
        bao.root.write_data("redis/config/shared", data=connection)
        role = {
            "db_name": "shared",
            "creation_statements": '["~kubesentiment:*", "+@all"]',
            "default_ttl": "4s",
            "max_ttl": "10s",
        }
        bao.root.write_data("redis/roles/cache", data=role)
        yield Servers(redis, bao)


def test_a_lease_is_renewed_and_replaced_and_every_lookup_works(servers: Servers) -> None:
    """Sixteen seconds with credentials that live for four, and never longer than ten."""

    async def body() -> None:
        config = servers.config(refresh_ms=200)
        login = RedisCredentials(config.redis, leased=True)
        cache = RedisCacheReplica(config, login)
        watch = SecretWatch(config.vault, {}, login=login)
        await watch.start()
        (first,) = servers.users()
        entry = b"k" * 24
        await cache.put_many([(entry, b"value")])
        started, used = time.monotonic(), {first}
        while time.monotonic() - started < 16:
            assert await cache.get_many([entry]) == [b"value"]
            used |= servers.users()
            if time.monotonic() - started < 6:
                assert used == {first}  # renewed beyond its four seconds, not replaced
            await asyncio.sleep(0.1)
        assert 2 <= len(used) <= 4
        assert first not in servers.users()  # Vault has taken it back
        watch.stop()
        await cache.close()

    asyncio.run(asyncio.wait_for(body(), 30))


def test_a_role_that_is_not_there_is_an_error(servers: Servers) -> None:
    config = servers.config()
    vault = VaultSecrets(config.vault)
    with pytest.raises(SecretsError):
        vault.credentials("other")
    with pytest.raises(SecretsError):
        vault.renew("redis/creds/cache/none")


class Clockwork:
    """Vault by the clock: leases of 100 s, none beyond 250 s."""

    def __init__(self) -> None:
        self.now = 0.0
        self.made = 0
        self.born = 0.0
        self.sealed = False

    def credentials(self, role: str) -> Credentials:
        self._check()
        self.made += 1
        self.born = self.now
        return Credentials(f"{role}-{self.made}", "secret", str(self.made), 100.0)

    def renew(self, lease_id: str) -> float:
        self._check()
        return min(100.0, self.born + 250.0 - self.now)

    def _check(self) -> None:
        if self.sealed:
            raise SecretsError("sealed")


def test_renewed_in_the_second_half_replaced_near_the_end_kept_while_sealed() -> None:
    class Users:
        names: list[str] = []  # noqa: RUF012

        def set_credentials(self, username: str, password: str) -> None:
            self.names.append(username)

        def replace(self, password: str) -> None:
            raise AssertionError

    vault, users = Clockwork(), Users()
    lease = VaultLease(vault, "cache", users, lambda: vault.now)  # type: ignore[arg-type]
    assert lease.ends_in_s == 0
    for vault.now in (0.0, 40.0, 60.0, 120.0, 190.0):
        lease.keep()
    assert users.names == ["cache-1"]
    vault.sealed = True
    vault.now = 230.0
    with pytest.raises(SecretsError):
        lease.keep()
    assert users.names == ["cache-1"]
    vault.sealed = False
    vault.now = 240.0
    lease.keep()
    assert users.names == ["cache-1", "cache-2"]
    assert lease.ends_in_s == 100


def test_a_role_without_vault_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"vault\.redis_role"):
        load_config({"vault": {"redis_role": "cache"}}, environ={})
    assert VaultConfig().redis_role == ""
