"""A file that an older MLflow wrote is taken over; what it was stays beside it."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy import create_engine

from registry.backend.sqlite_setup import sqlite_uri
from registry.bundles.bundle import write_bundle
from registry.errors import BackendUnavailable
from registry.model_registry import ModelRegistry
from registry.records import EngineHints

# "add jobs table": 27 migrations before the tables of MLflow 3.17.
OLD = "bf29a5ff90ea"


def revision(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        [(found,)] = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    return str(found)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ModelRegistry]:
    """What the previous release kept, in its tables: a champion and its audit chain."""
    folder = tmp_path_factory.mktemp("old")
    new = ModelRegistry(sqlite_uri(folder / "new.db"), folder / "artifacts")
    (folder / "model.onnx").write_bytes(b"old")
    (folder / "tokenizer.json").write_text("{}")
    made = write_bundle(
        folder / "bundle",
        name="tiny",
        labels=("negative", "positive"),
        files={name: folder / name for name in ("model.onnx", "tokenizer.json")},
        max_tokens=16,
        engine=EngineHints("onnx", "fp32", ("input_ids",), 0),
    )
    new.ensure_bundled("tiny", made.directory, "champion")
    file = folder / "old.db"
    engine = create_engine(sqlite_uri(file))
    Base.metadata.create_all(engine)
    config = _get_alembic_config(sqlite_uri(file))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLD)
    engine.dispose()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("ATTACH ? AS new", (str(folder / "new.db"),))
        found = connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")
        for (table,) in found.fetchall():
            if table != "alembic_version" and not table.startswith("sqlite_"):
                columns = _columns(connection, "main", table) & _columns(connection, "new", table)
                names = ", ".join(sorted(f'"{column}"' for column in columns))
                connection.execute(f'DELETE FROM main."{table}"')
                connection.execute(
                    f'INSERT INTO main."{table}" ({names}) SELECT {names} FROM new."{table}"'
                )
    return file, new


@pytest.fixture
def old(kept: tuple[Path, ModelRegistry], tmp_path: Path) -> Path:
    return Path(shutil.copy(kept[0], tmp_path / "mlflow.db"))


def _columns(connection: sqlite3.Connection, schema: str, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f'PRAGMA {schema}.table_info("{table}")')}


def test_the_previous_releases_file_is_taken_over(old, kept, tmp_path):
    assert revision(old) == OLD
    expected = kept[1].store.resolve("tiny", "champion")
    registry = ModelRegistry(sqlite_uri(old), tmp_path / "artifacts")
    assert registry.store.resolve("tiny", "champion").digest == expected.digest
    assert registry.ledger.events("tiny") == kept[1].ledger.events("tiny")
    assert revision(old) != OLD
    [before] = tmp_path.glob("mlflow.db.before-*")
    assert revision(before) == OLD
    # And it is written to.
    assert registry.store.fetch(expected, tmp_path / "cache").digest == expected.digest
    registry.mark_served("tiny", expected.version, expected.digest)


def test_a_newer_mlflows_file_is_refused_as_it_is(old, tmp_path):
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'of2031'")
    with pytest.raises(BackendUnavailable, match="of2031 of a newer MLflow"):
        ModelRegistry(sqlite_uri(old), tmp_path / "artifacts").store.initialise()
    assert revision(old) == "of2031"
    assert not list(tmp_path.glob("mlflow.db.before-*"))


def test_a_file_that_is_open_elsewhere_is_left_alone(old, tmp_path):
    with closing(sqlite3.connect(old)) as other:
        other.execute("PRAGMA journal_mode=WAL").fetchone()
        other.execute("BEGIN")
        other.execute("SELECT * FROM experiments").fetchall()
        with pytest.raises(BackendUnavailable, match="end what has it open"):
            ModelRegistry(sqlite_uri(old), tmp_path / "artifacts").store.initialise()
    assert revision(old) == OLD
