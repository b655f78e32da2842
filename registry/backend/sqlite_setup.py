"""First start of a registry kept in a sqlite file: one process prepares it, the others wait.

MLflow migrates a database when it is first opened, and two processes doing so at once
crash each other. So ``store.py`` prepares the file here, under a lock: it is made and
migrated beside its final place and moved there when complete, so a start that is
interrupted leaves nothing behind. Standard library only.
"""

import fcntl
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from registry.errors import BackendUnavailable

LOCK_WAIT_S = 120.0
_POLL_S = 0.05
_SQLITE = "sqlite:///"


def sqlite_file(tracking_uri: str) -> Path | None:
    """The absolute path of the sqlite file that ``tracking_uri`` names; None for other stores."""
    if not tracking_uri.startswith(_SQLITE):
        return None
    return Path(tracking_uri.removeprefix(_SQLITE)).absolute()


def sqlite_uri(file: Path) -> str:
    """The tracking URI of an absolute sqlite path."""
    return f"{_SQLITE}{file}"


@contextmanager
def locked(lock_file: Path, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Holds an exclusive lock between processes; the system lets go of it when one dies.

    Raises:
        BackendUnavailable: Another process held it for ``wait_s`` seconds, or the file
            cannot be made.
    """
    deadline_s = time.monotonic() + wait_s
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        stream = lock_file.open("a")
    except OSError as error:
        raise BackendUnavailable(
            f"{lock_file.parent} cannot hold the registry: {error.strerror or error}; "
            f"make it a writable folder or choose another registry.tracking_uri"
        ) from error
    with stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline_s:
                    raise BackendUnavailable(
                        f"another process has held {lock_file} for {wait_s:g} s; "
                        f"end it and start again"
                    ) from error
                time.sleep(_POLL_S)
        yield


def prepare_sqlite(file: Path, migrate: Callable[[str], None]) -> None:
    """Makes ``file`` an MLflow database if it is missing; checks it otherwise. Hold the lock.

    Args:
        file: Absolute path of the database.
        migrate: Creates MLflow's tables in the (empty) database of a URI, and closes it.

    Raises:
        BackendUnavailable: The file is damaged, is no sqlite file, belongs to another
            program, or cannot be written.
    """
    if not file.exists() or (file.is_file() and file.stat().st_size == 0):
        fresh = file.with_name(f".{file.name}.new")
        fresh.unlink(missing_ok=True)
        migrate(sqlite_uri(fresh))
        fresh.replace(file)
    try:
        with closing(sqlite3.connect(file, timeout=20.0)) as connection:
            damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
            if damage == "ok" and {"alembic_version", "registered_models"} <= names:
                # Kept in the file: readers no longer wait for a writer. Local disks only.
                connection.execute("PRAGMA journal_mode=WAL").fetchone()
                return
    except sqlite3.DatabaseError as error:
        raise BackendUnavailable(
            f"{file} cannot be read as an MLflow registry ({error}): {_advice(file)}"
        ) from error
    reason = "it belongs to another program" if damage == "ok" else "the file is damaged"
    raise BackendUnavailable(f"{file} is not an MLflow registry ({reason}): {_advice(file)}")


def _advice(file: Path) -> str:
    return f"restore a copy or move it away (mv {file} {file}.broken), then start again"
