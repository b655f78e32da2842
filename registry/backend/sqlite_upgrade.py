"""A registry's sqlite file that an older MLflow wrote is brought to this one's tables.

On a copy, which takes the file's place when it is complete; the file as it was stays beside it. So
an upgrade that is interrupted, or fails, changes nothing, and going back is one rename. Standard
library only.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Set
from contextlib import closing
from pathlib import Path

from registry.errors import BackendUnavailable

_log = logging.getLogger(__name__)


def upgrade_sqlite(
    file: Path, *, head: str, known: Set[str], upgrade: Callable[[Path], None]
) -> None:
    """Brings ``file`` to the tables of the installed MLflow. Hold the lock of ``sqlite_setup``.

    Args:
        file: The database.
        head: The revision of the installed MLflow's tables.
        known: All revisions that it can upgrade from.
        upgrade: Brings a file to ``head``, and closes it.

    Raises:
        BackendUnavailable: A newer MLflow wrote it, or another process has it open.
        OSError: The disk does not take the copy.
    """
    with closing(sqlite3.connect(file, timeout=20.0)) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    found = str(row[0]) if row else ""
    if found == head:
        return
    if found not in known:
        raise BackendUnavailable(
            f"{file} has tables {found} of a newer MLflow: install the release that wrote it, or "
            "restore a backup of before"
        )
    try:
        with closing(sqlite3.connect(file, timeout=5.0)) as connection:
            # All in the one file, and nobody else has it open.
            connection.execute("PRAGMA journal_mode=DELETE").fetchone()
            connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchone()
            connection.execute("BEGIN EXCLUSIVE")
            _exchange(file, file.with_name(f"{file.name}.before-{head}"), upgrade)
    except sqlite3.OperationalError as error:
        raise BackendUnavailable(
            f"{file} has the tables of an older MLflow and cannot be upgraded ({error}): end what "
            "has it open"
        ) from error
    _log.warning("registry upgraded", extra={"file": str(file), "before": found, "now": head})


def _exchange(file: Path, before: Path, upgrade: Callable[[Path], None]) -> None:
    copy = file.with_name(f".{file.name}.upgrade")
    copy.write_bytes(file.read_bytes())
    upgrade(copy)
    before.unlink(missing_ok=True)
    os.link(file, before)
    copy.replace(file)
