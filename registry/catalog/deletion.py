"""Deletes models and versions, and brings them back.

Nothing is removed at once: a deleted version gets a tag and a deleted model another name, and
every reader of the registry leaves both out. `sentigraph models gc` removes them for good, a day
later at the earliest.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from registry.backend.audit_ledger import Entry
from registry.backend.store import RegistryStore, check_name, record_of
from registry.backend.tags import DELETED_AS_TAG, DELETED_TAG, VERSION_LABEL_TAG
from registry.errors import AlreadyExists, Conflict, ModelNotFound
from registry.lifecycle.state import STAGING
from registry.lifecycle.transitions import Lifecycle
from registry.records import ModelVersion


class Deletions:
    """Deletes and restores in one store. Threads may share it."""

    def __init__(self, store: RegistryStore, lifecycle: Lifecycle) -> None:
        self._store = store
        self._mlflow = store.mlflow
        self._lifecycle = lifecycle

    def delete_version(self, version: ModelVersion, *, actor: str, reason: str = "") -> None:
        """Deletes a version without aliases; its number is never used again.

        Raises:
            Conflict: An alias points at it, or it is in staging.
        """
        name, number = version.name, version.version
        state = self._lifecycle.state(name)
        check_unused(
            f"{name} version {number}",
            {a: v for a, v in state.aliases.items() if v == number},
        )
        if state.stage(number) == STAGING:
            raise Conflict(
                f"version {number} is in staging: archive it first (promote it with to_status "
                f"archived, or `sentigraph models promote {name} {number} --to archived`)"
            )
        entry = Entry("delete_version", actor, reason, number, digest=version.digest)
        self._store.ledger.record(name, entry)
        with self._mlflow.translated(f"version {number} of model {name!r}"):
            client = self._mlflow.client()
            for alias in version.aliases:
                client.delete_registered_model_alias(name, alias)
            client.set_model_version_tag(name, str(number), DELETED_TAG, _now())

    def restore_version(
        self, name: str, number: int, *, actor: str, reason: str = ""
    ) -> ModelVersion:
        """Brings a deleted version back with its files, figures and stage.

        Raises:
            ModelNotFound: There is no such version, or it was removed for good.
            Conflict: It is not deleted.
            AlreadyExists: Another version has its label or its files now.
        """
        client = self._mlflow.client()
        what = f"version {number} of model {name!r}"
        with self._mlflow.translated(what):
            found = client.get_model_version(name, str(number))
        if DELETED_TAG not in found.tags:
            raise Conflict(f"{what} is not deleted")
        version = record_of(found, ())
        label = version.tags.get(VERSION_LABEL_TAG, "")
        same = {VERSION_LABEL_TAG: label} if label else {"digest": version.digest}
        if any(same.values()) and (other := self._store.first_with(name, **same)) is not None:
            raise AlreadyExists(f"version {other.version} of model {name!r} is the same by now")
        with self._mlflow.translated(what):
            client.delete_model_version_tag(name, str(number), DELETED_TAG)
        entry = Entry("restore_version", actor, reason, number, digest=version.digest)
        self._store.ledger.record(name, entry)
        return self._store.resolve(name, number)

    def delete_model(self, name: str, *, actor: str, reason: str = "") -> None:
        """Deletes a model that is not served, with its versions; its audit ledger stays.

        Raises:
            ModelNotFound: There is no such model.
            Conflict: It holds the champion, challenger or shadow alias, or has versions in staging.
        """
        check_name(name)
        state = self._lifecycle.state(name)
        check_unused(name, state.aliases)
        staged = [
            v.version for v in self._store.list_versions(name) if state.stage(v.version) == STAGING
        ]
        if staged:
            raise Conflict(
                f"model {name!r} has versions in staging ({', '.join(map(str, staged[:10]))}): "
                f"archive them first"
            )
        self._store.ledger.record(name, Entry("delete_model", actor, reason))
        client = self._mlflow.client()
        now = _now()
        with self._mlflow.translated(f"model {name!r}"):
            client.set_registered_model_tag(name, DELETED_TAG, now)
            client.set_registered_model_tag(name, DELETED_AS_TAG, name)
            client.rename_registered_model(name, f"{name[:200]}.deleted-{now}")

    def restore_model(self, name: str, *, actor: str, reason: str = "") -> None:
        """Brings back the model that was deleted last under this name.

        Raises:
            ModelNotFound: None was, or it was removed for good.
            AlreadyExists: The name is taken by now.
        """
        check_name(name)
        kept = [m for m in self.deleted_models() if m.tags.get(DELETED_AS_TAG) == name]
        if not kept:
            raise ModelNotFound(f"no deleted model {name!r} in the registry")
        newest = max(kept, key=lambda model: float(model.tags[DELETED_TAG]))
        client = self._mlflow.client()
        try:
            with self._mlflow.translated(f"model {name!r}"):
                client.rename_registered_model(newest.name, name)
        except AlreadyExists as error:
            raise AlreadyExists(f"model {name!r} exists already") from error
        with self._mlflow.translated(f"model {name!r}"):
            for tag in (DELETED_TAG, DELETED_AS_TAG):
                client.delete_registered_model_tag(name, tag)
        self._store.ledger.record(name, Entry("restore_model", actor, reason))

    def deleted_models(self) -> list[Any]:
        """MLflow's models that were deleted here, of all names."""
        search = self._mlflow.client().search_registered_models
        found = self._mlflow.pages("models", search, max_results=1000)
        return [model for model in found if DELETED_TAG in model.tags]

    def deleted_versions(self) -> list[Any]:
        """MLflow's versions that were deleted here, with those of deleted models."""
        gone = {model.name: model.tags[DELETED_TAG] for model in self.deleted_models()}
        search = self._mlflow.client().search_model_versions
        found = self._mlflow.pages("versions", search, "", max_results=1000)
        return [v for v in found if DELETED_TAG in v.tags or v.name in gone]

    def purge(self, before_s: float) -> None:
        """Removes from MLflow what was deleted before that Unix time; it cannot be restored."""
        client = self._mlflow.client()
        models = {model.name: deleted_s(model) for model in self.deleted_models()}
        with self._mlflow.translated("deleted models and versions"):
            for version in self.deleted_versions():
                if version.name not in models and deleted_s(version) < before_s:
                    client.delete_model_version(version.name, str(version.version))
            for name, since_s in models.items():
                if since_s < before_s:
                    client.delete_registered_model(name)


def deleted_s(found: Any) -> float:
    """Unix time at which MLflow's model or version was deleted; 0 when the tag is no number."""
    try:
        return float(found.tags.get(DELETED_TAG, "0"))
    except ValueError:
        return 0.0


def check_unused(what: str, aliases: Mapping[str, int]) -> None:
    """Refuses what answers requests.

    Raises:
        Conflict: One of the aliases gets traffic.
    """
    held = sorted(a for a in aliases if a != "previous")
    if held:
        raise Conflict(f"{what} holds {', '.join(held)}: move or empty them first")


def _now() -> str:
    return f"{time.time():.3f}"
