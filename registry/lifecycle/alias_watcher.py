"""Watches the aliases of every model in MLflow; one watcher polls for the whole graph.

MLflow has no change feed, and moving an alias changes no timestamp, so contents are
compared. For a sqlite file a cheap counter says whether anything was written; a server
is polled.
"""

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.backend.sqlite_setup import sqlite_file
from registry.backend.store import RegistryStore
from registry.backend.tags import DELETED_TAG, DIGEST_TAG, weight_tag
from registry.lifecycle.reconciler import parse_weight
from registry.lifecycle.state import SLOTS

_SERVER_PAUSE_S = 0.4


@dataclass(frozen=True, slots=True)
class AliasAssignment:
    """The version that an alias names.

    Attributes:
        version: MLflow's number.
        digest: The bundle's digest; with the version it is the identity.
        weight: Share of traffic of a slot; 1 for other aliases.
    """

    version: int
    digest: str
    weight: float


Aliases = Mapping[str, Mapping[str, AliasAssignment]]
"""Model to alias to version."""


class AliasWatcher:
    """Reads the aliases of one store. For one thread at a time."""

    def __init__(self, store: RegistryStore) -> None:
        self._store = store
        self._file = sqlite_file(store.tracking_uri)
        self._reader: sqlite3.Connection | None = None
        self._seen_writes = -1
        self._asked_s = -_SERVER_PAUSE_S
        # A deleted model's number can be given again; its creation time cannot.
        self._digests: dict[tuple[str, int, int], str] = {}

    def may_have_changed(self) -> bool:
        """Whether anything was written since the last call; of a server this is unknown.

        Reading costs a server 25 ms, so for one it is true twice a second at most.
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

    def observe(self) -> Aliases:
        """The aliases of all models.

        Raises:
            BackendUnavailable: The store cannot be reached or read.
        """
        mlflow = self._store.mlflow
        client = mlflow.client()
        models = mlflow.pages("models", client.search_registered_models, max_results=1000)
        with mlflow.translated("models"):
            return {
                model.name: self._assignments(client, model)
                for model in models
                if DELETED_TAG not in model.tags
            }

    def _assignments(self, client: Any, model: Any) -> dict[str, AliasAssignment]:
        found = {}
        for alias, version in model.aliases.items():
            key = (model.name, int(model.creation_timestamp), int(version))
            if not self._digests.get(key):
                tags = client.get_model_version(model.name, str(version)).tags
                self._digests[key] = tags.get(DIGEST_TAG, "")
            weight = parse_weight(model.tags.get(weight_tag(alias), "1")) if alias in SLOTS else 1.0
            found[alias] = AliasAssignment(int(version), self._digests[key], weight)
        return found

    def _count_writes(self, file: Path) -> int:
        """sqlite's own counter of commits by others; reading it takes microseconds."""
        if self._reader is None:
            self._reader = sqlite3.connect(file, check_same_thread=False, timeout=1)
        return int(self._reader.execute("PRAGMA data_version").fetchone()[0])
