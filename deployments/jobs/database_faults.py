"""What an error of the jobs' database means: it is away, or its disk is full."""

import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from deployments.errors import NotReady

# Of SQLite a write that fails is one too: not every file system tells why.
_NO_SPACE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_NO_SPACE_STATE = "53100"  # of PostgreSQL


def _disk_is_full(error: SQLAlchemyError) -> bool:
    """Whether the jobs' database has no space left, or its disk takes nothing."""
    if not isinstance(error, DBAPIError):
        return False
    # An extended code of SQLite has the kind in its lowest byte.
    number = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return number in _NO_SPACE or getattr(error.orig, "sqlstate", "") == _NO_SPACE_STATE


def fault(error: SQLAlchemyError) -> str:
    """What a log says of it: the class, and a full disk in words."""
    name = type(error).__name__
    return f"{name}, the disk is full" if _disk_is_full(error) else name


def away(error: SQLAlchemyError) -> NotReady:
    """What a caller is told of it."""
    if _disk_is_full(error):
        return NotReady("the disk of the jobs' database is full")
    return NotReady("the jobs' database does not answer; try again soon")
