"""A client of the Redis server in ``RedisConfig``: pool, TLS, password, bounded waits.

Every wait has an end: for a free connection, for a new one, for an answer. Nothing is tried
again but a connection that the server has closed meanwhile, once; beyond that the breaker
of the caller decides.
"""

from collections.abc import Callable
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError

from configs.dependencies import RedisConfig


class Password(CredentialProvider):
    """Asked for at each new connection, so a rotated password needs no restart."""

    def __init__(self, username: str, password: Callable[[], str]) -> None:
        self._username = username
        self._password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """``(username, password)``; without a user, the password alone."""
        password = self._password()
        return (self._username, password) if self._username else (password,)


def connect(config: RedisConfig, password: Callable[[], str] | None = None) -> Redis:
    """A client with its own pool; the first command opens the first connection.

    Args:
        config: Where and how.
        password: The password as it is now; None takes the configured one.
    """
    options: dict[str, Any] = {}
    if config.tls:
        options = {
            "connection_class": SSLConnection,
            "ssl_ca_certs": config.tls_ca_file or None,
            "ssl_check_hostname": True,
        }
    current = password or config.password.get_secret_value
    if current() or config.username:
        options["credential_provider"] = Password(config.username, current)
    pool = BlockingConnectionPool(
        host=config.host,
        port=config.port,
        db=config.db,
        max_connections=config.max_connections,
        timeout=config.timeout_ms / 1_000,
        socket_timeout=config.timeout_ms / 1_000,
        socket_connect_timeout=config.connect_timeout_ms / 1_000,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        **options,
    )
    return Redis.from_pool(pool)


class Held:
    """A password that may change: who needs it asks for it each time."""

    def __init__(self, value: str) -> None:
        self._value = value

    def replace(self, value: str) -> None:
        """From now on."""
        self._value = value

    def current(self) -> str:
        """As it is now."""
        return self._value
