"""How connections to the jobs' database log in: as Vault says when they are made.

A connection that is logged in stays so when the password changes, so no job stops.
"""

from typing import Any

from sqlalchemy import URL, Engine, event, make_url
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import ArgumentError

from configs.errors import ConfigError


class DatabaseLogin:
    """User and password in ``jobs.database``. May be replaced from any thread."""

    def __init__(self, uri: str) -> None:
        self._url = make_url(uri)

    def replace(self, uri: str) -> None:
        """Another user or password, from the next connection on.

        Raises:
            ConfigError: It is no address, or one of another database: that needs a restart.
        """
        try:
            url = make_url(uri)
        except ArgumentError:
            raise ConfigError("jobs.database is no address of a database") from None
        if _place(url) != _place(self._url):
            raise ConfigError("jobs.database names another database, which needs a restart")
        self._url = url

    def attach(self, engine: Engine) -> None:
        """Lets every connection of ``engine`` log in so."""
        event.listen(engine, "do_connect", self._log_in)

    def _log_in(self, dialect: Dialect, _: object, __: object, options: dict[str, Any]) -> None:
        _, wanted = dialect.create_connect_args(self._url)
        options.update(wanted)


def _place(url: URL) -> tuple[object, ...]:
    return url.drivername, url.host, url.port, url.database, url.query
