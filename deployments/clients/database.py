"""The databases of jobs and of what is watched: how they are opened, and how connections log in.

SQLite is opened in WAL mode with a full sync, so that what was acknowledged survives a crash
of the machine as well; writers queue up instead of failing. A login is what Vault says when a
connection is made: one that is logged in stays so when the password changes, so no work stops.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, MetaData, create_engine, event, make_url
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from configs.errors import ConfigError

_WAIT_S = 30
# Of one transaction that gives space back, so that others wait for the lock but briefly; fewer than
# the second are kept for later rows.
_PAGES_AT_ONCE, _FEW_PAGES = 4_096, 64
_JOURNAL_BYTES = 64 << 20


class DatabaseLogin:
    """User and password in a setting. May be replaced from any thread."""

    def __init__(self, uri: str, setting: str) -> None:
        self._url = make_url(uri)
        self._setting = setting

    def replace(self, uri: str) -> None:
        """Another user or password, from the next connection on.

        Raises:
            ConfigError: It is no address, or one of another database: that needs a restart.
        """
        try:
            url = make_url(uri)
        except ArgumentError:
            raise ConfigError(f"{self._setting} is no address of a database") from None
        if _place(url) != _place(self._url):
            raise ConfigError(f"{self._setting} names another database, which needs a restart")
        self._url = url

    def attach(self, engine: Engine) -> None:
        """Lets every connection of ``engine`` log in so."""
        event.listen(engine, "do_connect", self._log_in)

    def _log_in(self, dialect: Dialect, _: object, __: object, options: dict[str, Any]) -> None:
        _, wanted = dialect.create_connect_args(self._url)
        options.update(wanted)


def _place(url: URL) -> tuple[object, ...]:
    return url.drivername, url.host, url.port, url.database, url.query


def open_database(uri: str, tables: MetaData, login: DatabaseLogin | None = None) -> Engine:
    """An engine on ``uri``; the tables are made when they are not there.

    Args:
        uri: Of SQLite or PostgreSQL.
        tables: What the database holds.
        login: User and password, where they may change; otherwise those of ``uri``.
    """
    engine = create_engine(uri, pool_pre_ping=True, **_options(uri))
    if login is not None:
        login.attach(engine)
    if engine.dialect.name == "sqlite":
        if engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    tables.create_all(engine)
    return engine


def give_space_back(engine: Engine) -> None:
    """Shrinks SQLite's file by the pages that nothing uses any more; others do it alone."""
    if engine.dialect.name != "sqlite":
        return
    with engine.connect().execution_options(reads=True) as connection:
        before, free = 0, int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())
    if free < _FEW_PAGES:
        return
    while free and free != before:  # it stays where a file was made without this
        with engine.begin() as connection:
            cursor = connection.connection.cursor()
            # A step of the statement frees a page; it has no rows, but fetching runs them all.
            cursor.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
            cursor.fetchall()
            cursor.execute("PRAGMA freelist_count")
            before, free = free, cursor.fetchall()[0][0]


def _options(uri: str) -> dict[str, Any]:
    if uri.startswith("sqlite"):
        return {"connect_args": {"timeout": _WAIT_S}}
    return {"connect_args": {"connect_timeout": _WAIT_S}, "pool_timeout": _WAIT_S}


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # Transactions begin when we say so, below, not when the driver guesses.
    connection.isolation_level = None
    cursor = connection.cursor()
    # The first works on a file without tables only; others keep their space for later rows.
    for pragma in (
        "auto_vacuum=INCREMENTAL",
        "journal_mode=WAL",
        f"journal_size_limit={_JOURNAL_BYTES}",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    # A transaction that reads first and then writes fails when another wrote in between; one that
    # asks for the write lock at once waits instead.
    reads = connection.get_execution_options().get("reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
