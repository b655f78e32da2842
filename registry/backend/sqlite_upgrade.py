"""A registry's sqlite file that an older MLflow wrote is brought to this one's tables.

On a copy, which takes the file's place when it is complete; the file as it was stays beside it. So
an upgrade that is interrupted, or fails, changes nothing, and going back is one rename.
"""

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from registry.backend.sqlite_setup import sqlite_uri
from registry.errors import BackendUnavailable

_log = logging.getLogger(__name__)


def upgrade_sqlite(file: Path) -> None:
    """Brings ``file`` to the tables of the installed MLflow. Hold the lock of ``sqlite_setup``.

    Raises:
        BackendUnavailable: A newer MLflow wrote it, another process has it open, or the disk does
            not take the copy.
    """
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from mlflow.store.db.utils import _get_alembic_config  # noqa: PLC0415

    scripts = ScriptDirectory.from_config(_get_alembic_config(sqlite_uri(file)))
    head = scripts.get_current_head()
    found = _revision(file)
    if found == head:
        return
    if found not in {script.revision for script in scripts.walk_revisions()}:
        raise BackendUnavailable(
            f"{file} has tables {found} of a newer MLflow: install the release that wrote it, or "
            "restore a backup of before"
        )
    try:
        _upgrade(file, file.with_name(f"{file.name}.before-{head}"))
    except sqlite3.OperationalError as error:
        raise BackendUnavailable(
            f"{file} has the tables of an older MLflow and cannot be upgraded ({error}): end what "
            "has it open"
        ) from error
    _log.warning("registry upgraded", extra={"file": str(file), "before": found, "now": head})


def _upgrade(file: Path, before: Path) -> None:
    from mlflow.store.db.utils import _upgrade_db  # noqa: PLC0415
    from sqlalchemy import create_engine  # noqa: PLC0415

    with closing(sqlite3.connect(file, timeout=5.0)) as connection:
        # All in the one file, and nobody else has it open.
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()
        connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchone()
        connection.execute("BEGIN EXCLUSIVE")
        copy = file.with_name(f".{file.name}.upgrade")
        copy.unlink(missing_ok=True)
        copy.write_bytes(file.read_bytes())
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        engine = create_engine(sqlite_uri(copy))
        try:
            _upgrade_db(engine)
        finally:
            engine.dispose()
        before.unlink(missing_ok=True)
        os.link(file, before)
        copy.replace(file)


def _revision(file: Path) -> str:
    with closing(sqlite3.connect(file, timeout=20.0)) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else ""
