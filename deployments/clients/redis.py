"""A client of the Redis server in ``RedisConfig``: pool, TLS, password, bounded waits.

Every wait is bounded: for a free connection, for a new one, for an answer. Only a connection
that the server has closed is opened again, once; beyond that the caller's breaker decides.
"""

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError

from configs.schema.dependencies import RedisConfig


class RedisCredentials(CredentialProvider):
    """Read at each new connection, so rotated credentials need no restart."""

    def __init__(self, config: RedisConfig, *, leased: bool = False) -> None:
        """Starts with the configured credentials.

        Args:
            config: Username and password, empty for none.
            leased: Whether others will come before the first connection.
        """
        self._leased = leased
        self._username = config.username
        self._password = config.password.get_secret_value()

    def __bool__(self) -> bool:
        return bool(self._leased or self._username or self._password)

    def set_password(self, password: str) -> None:
        """Uses another password of the same user for new connections."""
        self._password = password

    def set_credentials(self, username: str, password: str) -> None:
        """Uses another user for new connections."""
        self._username, self._password = username, password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """``(username, password)``; without a user, the password alone."""
        username, password = self._username, self._password
        return (username, password) if username else (password,)


def connect(config: RedisConfig, login: RedisCredentials | None = None) -> Redis:
    """A client with its own pool; the first command opens the first connection.

    Args:
        config: Address, limits and TLS.
        login: The present credentials; None takes the configured ones.
    """
    options: dict[str, Any] = {}
    if config.tls:
        options = {
            "connection_class": SSLConnection,
            "ssl_ca_certs": config.tls_ca_file or None,
            "ssl_check_hostname": True,
        }
    login = login or RedisCredentials(config)
    if login:
        options["credential_provider"] = login
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
