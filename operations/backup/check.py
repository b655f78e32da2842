"""Opens a copy of what a registry keeps: every audit chain, every bundle of every version."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from operations.backup.places import ARTIFACTS, REGISTRY
from registry.errors import RegistryError
from registry.lifecycle.state import CHAMPION
from registry.model_registry import ModelRegistry

# Where MLflow names the place of a file in its database.
_NAMED = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A model of a backup.

    Attributes:
        name: Of the model.
        versions: How many.
        champion: The version that answers; None where none does.
        digest: Of that version's bundle.
        entries: Of its audit ledger.
    """

    name: str
    versions: int
    champion: int | None
    digest: str
    entries: int


def move_artifacts(database: Path, before: str, after: str) -> None:
    """Lets the rows of a registry's file name another folder of artifacts."""
    if not before or before == after:
        return
    with closing(sqlite3.connect(database)) as connection, connection:
        for table, column in _NAMED:
            known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            if column in known:
                # Both names are of ``_NAMED``, never of a caller.
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 # nosec
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (after, len(before) + 1, before, len(before) + 1, f"{before}/"),
                )


def check(folder: Path) -> tuple[list[Kept], list[str]]:
    """Reads all that ``folder`` keeps of a registry, whose rows name the artifacts there.

    Returns:
        The models, and each thing that is wrong: a damaged database, a broken audit chain, a
        bundle that is not the one that was recorded.
    """
    wrong = [f"{file.name} is damaged: {said}" for file, said in _damage(folder) if said != "ok"]
    if wrong or not (folder / REGISTRY).is_file():
        return [], wrong
    registry = ModelRegistry(f"sqlite:///{folder / REGISTRY}", folder / ARTIFACTS)
    kept = []
    try:
        client = registry.store.mlflow.client()
        models = registry.store.mlflow.pages("models", client.search_registered_models)
        for name in sorted(model.name for model in models):
            kept.append(_kept(registry, name, wrong))
    except RegistryError as error:
        wrong.append(str(error))
    finally:
        # Or the file would be without what SQLite keeps beside it when it gets another name.
        registry.store.mlflow.close()
    return kept, wrong


def _damage(folder: Path) -> Iterator[tuple[Path, str]]:
    for file in sorted(folder.glob("*.db")):
        with closing(sqlite3.connect(file)) as connection:
            try:
                yield file, connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            except sqlite3.DatabaseError as error:
                yield file, str(error)


def _kept(registry: ModelRegistry, name: str, wrong: list[str]) -> Kept:
    entries = 0
    try:
        entries = len(registry.ledger.events(name))
    except RegistryError as error:
        wrong.append(str(error))
    versions = registry.store.list_versions(name)
    champion = next((one for one in versions if CHAMPION in one.aliases), None)
    for version in versions:
        # Others were registered past sentigraph, and are no bundles.
        if version.digest:
            with tempfile.TemporaryDirectory() as cache:
                try:
                    registry.store.fetch(version, Path(cache))
                except RegistryError as error:
                    wrong.append(f"model {name!r} version {version.version}: {error}")
    return Kept(
        name=name,
        versions=len(versions),
        champion=champion.version if champion else None,
        digest=champion.digest if champion else "",
        entries=entries,
    )
