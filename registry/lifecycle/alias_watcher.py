"""What MLflow says about every model's places, looked at again and again by one watcher.

MLflow has no change feed, and moving an alias touches no timestamp, so contents are
compared. A sqlite file tells cheaply that somebody wrote to it; a server is just asked.
"""

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.backend.sqlite_setup import sqlite_file
from registry.backend.store import DIGEST_TAG, RegistryStore
from registry.lifecycle.reconciler import weight_tag
from registry.lifecycle.state import SLOTS

_SERVER_PAUSE_S = 0.4


@dataclass(frozen=True, slots=True)
class AliasAssignment:
    """Who holds an alias.

    Attributes:
        version: MLflow's number.
        digest: The bundle's digest; with the version it is the identity.
        weight: Share of traffic of a slot; 1 for other aliases.
    """

    version: int
    digest: str
    weight: float


Places = Mapping[str, Mapping[str, AliasAssignment]]
"""Model to alias to who holds it."""


class Watcher:
    """Looks at one store. For one thread at a time."""

    def __init__(self, store: RegistryStore) -> None:
        self._store = store
        self._file = sqlite_file(store.tracking_uri)
        self._reader: sqlite3.Connection | None = None
        self._seen_writes = -1
        self._asked_s = -_SERVER_PAUSE_S
        # A number can come again when a model is deleted and made anew; its birth cannot.
        self._digests: dict[tuple[str, int, int], str] = {}

    def written(self) -> bool:
        """Whether anybody may have written since the last call; of a server it cannot be told.

        Asking a server costs it 25 ms, so it is asked twice a second at most.
        """
        if self._file is None:
            now = time.monotonic()
            due = now - self._asked_s >= _SERVER_PAUSE_S
            self._asked_s = now if due else self._asked_s
            return due
        try:
            writes = self._count_writes(self._file)
        except sqlite3.Error:
            self._reader = None
            return True
        changed = writes != self._seen_writes
        self._seen_writes = writes
        return changed

    def look(self) -> Places:
        """The places of all models.

        Raises:
            BackendUnavailable: The store cannot be reached or read.
        """
        client = self._store.mlflow.client()
        found: dict[str, dict[str, AliasAssignment]] = {}
        token = None
        with self._store.mlflow.translated("models"):
            while True:
                page = client.search_registered_models(max_results=1000, page_token=token)
                for model in page:
                    found[model.name] = self._places(client, model)
                if not (token := page.token):
                    break
        return found

    def _places(self, client: Any, model: Any) -> dict[str, AliasAssignment]:
        places = {}
        for alias, version in model.aliases.items():
            key = (model.name, int(model.creation_timestamp), int(version))
            if not self._digests.get(key):
                tags = client.get_model_version(model.name, str(version)).tags
                self._digests[key] = tags.get(DIGEST_TAG, "")
            weight = model.tags.get(weight_tag(alias), "1") if alias in SLOTS else "1"
            places[alias] = AliasAssignment(int(version), self._digests[key], _share(weight))
        return places

    def _count_writes(self, file: Path) -> int:
        """sqlite's own counter of commits by others; asking takes microseconds."""
        if self._reader is None:
            self._reader = sqlite3.connect(file, check_same_thread=False, timeout=1)
        return int(self._reader.execute("PRAGMA data_version").fetchone()[0])


def _share(text: str) -> float:
    """A weight that a person may have typed; none when it is no share."""
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 < weight <= 1 else 0.0
