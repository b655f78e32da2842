"""Models and versions with their descriptions: made, read, changed.

A version made here has a label that its author chose (``1.0.0``) beside MLflow's number;
both find it. It starts as a draft without files; ``uploads.py`` stores them once.
"""

import json
from typing import Any

from registry.backend.audit_ledger import MAX_REASON_CHARS, Entry
from registry.backend.store import RegistryStore, check_name
from registry.backend.tags import (
    DELETED_TAG,
    MODEL_TAG,
    POLICY_TAG,
    REGISTERED_BY_TAG,
    STAGE_TAG,
    VERSION_LABEL_TAG,
    VERSIONS_TAG,
)
from registry.catalog.deletion import check_unused
from registry.catalog.metadata import Metadata, metadata_tags
from registry.errors import AlreadyExists, InvalidValue, ModelNotFound
from registry.lifecycle.decision_summary import own_description
from registry.lifecycle.transitions import Lifecycle
from registry.policy import Policy, parse_policy
from registry.records import ModelInfo, ModelVersion

# They are words of the REST paths.
RESERVED = frozenset({"live", "search", "watch", "releases"})


class Catalog:
    """Models and versions of one store. Threads may share it."""

    def __init__(self, store: RegistryStore, lifecycle: Lifecycle) -> None:
        self._store = store
        self._mlflow = store.mlflow
        self._lifecycle = lifecycle

    def create_model(self, name: str, description: str, *, actor: str) -> ModelInfo:
        """Makes a model without versions.

        Raises:
            AlreadyExists: The name is taken, or belonged to a model that was renamed.
            InvalidValue: The name is not allowed.
        """
        self._check_free(name)
        try:
            with self._mlflow.translated(f"model {name!r}"):
                self._mlflow.client().create_registered_model(name, None, description)
        except AlreadyExists as error:
            raise AlreadyExists(f"model {name!r} exists already") from error
        self._store.ledger.record(name, Entry("create_model", actor, ""))
        return self.model(name)

    def model(self, name: str) -> ModelInfo:
        """One model.

        Raises:
            ModelNotFound: There is none of that name.
        """
        check_name(name)
        with self._mlflow.translated(f"model {name!r}"):
            found = self._mlflow.client().get_registered_model(name)
        if DELETED_TAG in found.tags:
            raise ModelNotFound(f"no model {name!r} in the registry")
        return _info(found)

    def models(self) -> list[ModelInfo]:
        """All models, by name."""
        search = self._mlflow.client().search_registered_models
        found = self._mlflow.pages("models", search, max_results=1000, order_by=["name ASC"])
        return [_info(model) for model in found if DELETED_TAG not in model.tags]

    def update_model(
        self,
        name: str,
        *,
        actor: str,
        description: str | None = None,
        new_name: str | None = None,
        policy: Policy | None = None,
        reason: str = "",
    ) -> ModelInfo:
        """Changes what is not None; of the policy, the fields that are set.

        Raises:
            ModelNotFound: There is no such model.
            AlreadyExists: The new name is taken.
            Conflict: It is being served and cannot get another name.
        """
        found = self.model(name)
        client = self._mlflow.client()
        change: dict[str, Any] = {}
        changed: list[str] = []
        with self._mlflow.translated(f"model {name!r}"):
            if description is not None:
                client.update_registered_model(name, description)
                change["description"] = description[:200]
                changed.append("description")
            if policy is not None:
                policy = found.policy.merged(policy)
                client.set_registered_model_tag(name, POLICY_TAG, policy.model_dump_json())
                change["policy"] = policy.model_dump()
                changed += found.policy.changed_fields(policy)
        if change:
            before = {"policy": found.policy.model_dump()} if policy is not None else {}
            what = f"changed: {', '.join(changed) or 'nothing'}"
            what = (f"{reason} ({what})" if reason else what)[:MAX_REASON_CHARS]
            entry = Entry("update_model", actor, what, before=before, after=change)
            self._store.ledger.record(name, entry)
        if new_name is not None and new_name != name:
            self._rename(found, new_name, actor)
            return self.model(new_name)
        return self.model(name)

    def create_version(
        self, name: str, label: str, metadata: Metadata, *, actor: str
    ) -> ModelVersion:
        """Makes a draft without files.

        Args:
            name: A model that exists.
            label: The author's name for it, unique in the model. Digits alone are allowed
                only when they are the number that the registry gives it.
            metadata: The author's metadata.
            actor: Who makes it.

        Raises:
            ModelNotFound: There is no such model.
            AlreadyExists: The label is taken.
        """
        self.model(name)
        if self._labelled(name, label):
            raise AlreadyExists(f"model {name!r} has a version {label!r} already")
        client = self._mlflow.client()
        with self._mlflow.exclusive(), self._mlflow.translated(f"model {name!r}"):
            made = client.create_logged_model(
                self._mlflow.experiment_id(), name=name, tags={MODEL_TAG: name}, model_type="bundle"
            )
            tags = {**metadata_tags(metadata), VERSION_LABEL_TAG: label, STAGE_TAG: "draft"}
            with self._mlflow.process_address():
                created = client.create_model_version(
                    name,
                    f"models:/{made.model_id}",
                    tags={**tags, REGISTERED_BY_TAG: actor},
                    description=metadata.description,
                    await_creation_for=0,
                    model_id=made.model_id,
                )
            number = int(created.version)
            link = json.dumps([{"name": name, "version": number}])
            client.set_logged_model_tags(made.model_id, {VERSIONS_TAG: link})
            problem = self._label_problem(name, label, number)
            if problem is not None:
                client.delete_model_version(name, str(number))
                raise problem
        self._store.ledger.record(name, Entry("create_version", actor, f"label {label}", number))
        return self._store.resolve(name, number)

    def version(self, name: str, reference: str) -> ModelVersion:
        """The version that a label, a number or an alias names.

        Raises:
            ModelNotFound: There is none.
        """
        check_name(name)
        if (labelled := self._labelled(name, reference)) is not None:
            return labelled
        return self._store.resolve(name, reference)

    def latest(self, name: str) -> ModelVersion | None:
        """The version that was made last; None when there is none.

        Raises:
            ModelNotFound: There is no such model.
        """
        self.model(name)
        return max(self._store.list_versions(name), key=lambda v: v.version, default=None)

    def update_metadata(
        self, version: ModelVersion, metadata: Metadata, *, actor: str
    ) -> ModelVersion:
        """Replaces a version's metadata; its files and figures stay."""
        client, name, number = self._mlflow.client(), version.name, str(version.version)
        wanted = metadata_tags(metadata)
        own = own_description(version.description)
        summary = version.description[len(own) :]
        with self._mlflow.translated(f"version {number} of model {name!r}"):
            for key, value in wanted.items():
                if version.tags.get(key) != value:
                    client.set_model_version_tag(name, number, key, value)
            client.update_model_version(name, number, f"{metadata.description}{summary}")
        entry = Entry("update_version_metadata", actor, "", version.version, digest=version.digest)
        self._store.ledger.record(name, entry)
        return self._store.resolve(name, version.version)

    def _labelled(self, name: str, label: str) -> ModelVersion | None:
        if not label or "'" in label:
            return None
        return self._store.first_with(name, **{VERSION_LABEL_TAG: label})

    def _label_problem(self, name: str, label: str, number: int) -> Exception | None:
        first = self._labelled(name, label)
        if first is not None and first.version < number:
            return AlreadyExists(f"model {name!r} has a version {label!r} already")
        if label.isdecimal() and int(label) != number:
            return InvalidValue(
                f"this would be number {number}, not {label}: send {number}, or a label that "
                f"is not a plain number, such as {label}.0"
            )
        return None

    def _check_free(self, name: str) -> None:
        check_name(name)
        if name in RESERVED:
            raise InvalidValue(f"model name {name!r} is a word of the API: choose another")
        events = self._store.ledger.events(name)
        if events and events[-1].action == "rename_model":
            raise AlreadyExists(
                f"the audit knows {name!r} as the former name of {events[-1].after['name']!r}: "
                f"choose another"
            )

    def _rename(self, found: ModelInfo, new_name: str, actor: str) -> None:
        self._check_free(new_name)
        check_unused(found.name, self._lifecycle.state(found.name).aliases)
        if self._store.ledger.events(new_name):
            raise AlreadyExists(f"the audit knows another model as {new_name!r}: choose another")
        try:
            with self._mlflow.translated(f"model {found.name!r}"):
                self._mlflow.client().rename_registered_model(found.name, new_name)
        except AlreadyExists as error:
            raise AlreadyExists(f"model {new_name!r} exists already") from error
        self._store.ledger.record(
            found.name, Entry("rename_model", actor, "", after={"name": new_name})
        )
        before = {"name": found.name}
        self._store.ledger.record(new_name, Entry("rename_model", actor, "", before=before))


def _info(model: Any) -> ModelInfo:
    try:
        policy = parse_policy(model.tags.get(POLICY_TAG, ""))
    except InvalidValue:
        policy = Policy()
    return ModelInfo(
        name=model.name,
        description=model.description or "",
        created_s=int(model.creation_timestamp) / 1000,
        updated_s=int(model.last_updated_timestamp or model.creation_timestamp) / 1000,
        aliases={alias: int(version) for alias, version in model.aliases.items()},
        policy=policy,
    )
