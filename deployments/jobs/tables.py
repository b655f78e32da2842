"""The two tables of batch jobs, and how their database is opened. SQLAlchemy Core, no ORM.

SQLite is opened in WAL mode with a full sync, so that what was acknowledged survives a crash
of the machine as well; writers queue up instead of failing.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from deployments.jobs.database_login import DatabaseLogin

_WAIT_S = 30
_JOURNAL_BYTES = 64 << 20

metadata = MetaData()

jobs = Table(
    "sentigraph_jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("idempotency_key", String(255)),
    Column("digest", String(64), nullable=False),
    Column("priority", String(8), nullable=False),
    Column("state", String(16), nullable=False),
    Column("chunk_texts", Integer, nullable=False),
    Column("total_texts", BigInteger, nullable=False, default=0),
    Column("done_texts", BigInteger, nullable=False, default=0),
    Column("failed_texts", BigInteger, nullable=False, default=0),
    Column("retried_texts", BigInteger, nullable=False, default=0),
    Column("created_s", Float(53), nullable=False),
    Column("deadline_s", Float(53), nullable=False),
    Column("started_s", Float(53)),
    Column("turn_s", Float(53), nullable=False),
    Column("ended_s", Float(53)),
    Column("error", Text, nullable=False, default=""),
    Column("webhook_url", Text, nullable=False, default=""),
    Column("webhook_attempts", Integer, nullable=False, default=0),
    # When the message is due; null when there is none to send any more.
    Column("webhook_due_s", Float(53)),
    UniqueConstraint("owner", "idempotency_key"),
    Index("sentigraph_jobs_state", "state"),
)

chunks = Table(
    "sentigraph_job_chunks",
    metadata,
    Column("job_id", ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("size", Integer, nullable=False),
    # pending, leased, done
    Column("state", String(8), nullable=False),
    Column("fence", Integer, nullable=False, default=0),
    Column("until_s", Float(53), nullable=False, default=0.0),
    Column("texts", LargeBinary, nullable=False),
    Column("results", LargeBinary),
    Index("sentigraph_job_chunks_state", "job_id", "state", "position"),
)


def open_database(uri: str, login: DatabaseLogin | None = None) -> Engine:
    """An engine on ``uri``; the tables are made when they are not there.

    Args:
        uri: Of SQLite or PostgreSQL.
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
    metadata.create_all(engine)
    return engine


def _options(uri: str) -> dict[str, Any]:
    if uri.startswith("sqlite"):
        return {"connect_args": {"timeout": _WAIT_S}}
    return {"connect_args": {"connect_timeout": _WAIT_S}, "pool_timeout": _WAIT_S}


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # Transactions begin when we say so, below, not when the driver guesses.
    connection.isolation_level = None
    cursor = connection.cursor()
    # The first works on a file without tables only; others keep their space for later jobs.
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
