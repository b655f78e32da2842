"""The model registry: versions of bundles, kept in MLflow.

A version is a bundle (``bundle.py``) kept as files of an MLflow LoggedModel, so nothing
stored can execute code. MLflow compares no digests: every registered version carries
its bundle's digest as a tag, and ``fetch`` refuses files that do not match it. The
Registry deployment and the pipelines use this class; replicas that serve never import
it, because importing MLflow takes seconds and 160 MB.
"""

import json
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from registry.backend.audit_ledger import Entry, Ledger
from registry.backend.connection import Connection
from registry.backend.publish import publish
from registry.backend.tags import (
    DELETED_TAG,
    DIGEST_TAG,
    FORMAT_TAG,
    LABELS_TAG,
    REGISTERED_BY_TAG,
    STAGE_TAG,
    TASK_TAG,
    VERSIONS_TAG,
    labels_in,
)
from registry.bundles.bundle import open_bundle
from registry.bundles.node_cache import fetch_bundle
from registry.errors import InvalidBundle, InvalidValue, ModelNotFound
from registry.records import Bundle, ModelVersion

_MAX_TAG_CHARS = 100_000
# MLflow keeps the number in an INTEGER column, 32 bits in PostgreSQL.
_MAX_VERSION = 2**31 - 1
_NAME = re.compile(r"[\w.\-]{1,255}")
_ALIAS = re.compile(r"[\w\-]{1,255}")
_log = logging.getLogger(__name__)


class RegistryStore:
    """Model versions in one MLflow store. Threads may share it.

    Nothing is imported or opened before the first call.

    Args:
        tracking_uri: ``sqlite:///file``, another database URI, or ``http(s)://server``.
        artifact_root: Folder (or ``s3://…``) for the files of new versions when the
            tracking URI is a database; a server decides for itself.

    Attributes:
        mlflow: The connection.
        ledger: Where every change is recorded.
        tracking_uri: The URI, absolute when it names a sqlite file.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path | str) -> None:
        self.mlflow = Connection(tracking_uri, artifact_root)
        self.ledger = Ledger(self.mlflow)
        self.tracking_uri = self.mlflow.uri

    def initialise(self) -> None:
        """Makes the registry usable; safe when several processes start at once.

        Every other method does this by itself on its first call.

        Raises:
            BackendUnavailable: The store cannot be reached, read or written.
        """
        self.mlflow.client()

    def register(
        self,
        name: str,
        bundle_dir: Path,
        *,
        actor: str,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        run_id: str | None = None,
    ) -> ModelVersion:
        """Stores a verified bundle as a new version in stage ``draft``.

        A bundle whose digest the model already has is not stored again: that version is
        returned. A failure leaves at most an MLflow LoggedModel that no version uses.

        Args:
            name: Registered model, made if missing; ``[A-Za-z0-9_.-]+``.
            bundle_dir: The bundle; only the files that it lists are stored.
            actor: Who registers it.
            description: Markdown shown in the MLflow UI.
            tags: Further version tags.
            metrics: Evaluation figures; the bundle's own when None. They are filed under
                the dataset that the bundle's provenance names (``dataset_digest`` and, when
                it is not called like the bundle, ``dataset``).
            run_id: MLflow run that made the bundle.

        Raises:
            InvalidValue: The name is not allowed.
            InvalidBundle: The bundle does not open.
            BackendUnavailable: The store cannot be reached, read or written.
        """
        check_name(name)
        bundle = open_bundle(bundle_dir)
        labels = json.dumps(bundle.labels, ensure_ascii=False)
        if len(labels) > _MAX_TAG_CHARS:
            raise InvalidBundle(f"the labels take {len(labels)} characters, over {_MAX_TAG_CHARS}")
        version_tags = {
            **(tags or {}),
            DIGEST_TAG: bundle.digest,
            STAGE_TAG: "draft",
            LABELS_TAG: labels,
            TASK_TAG: bundle.head.task,
            REGISTERED_BY_TAG: actor,
        }
        client = self.mlflow.client()
        with self.mlflow.exclusive(), self.mlflow.translated(f"model {name!r}"):
            if (known := self.first_with(name, **{DIGEST_TAG: bundle.digest})) is not None:
                return known
            model_id, run_id = publish(
                client,
                experiment_id=self.mlflow.experiment_id(),
                name=name,
                bundle=bundle,
                metrics=bundle.metrics if metrics is None else metrics,
                run_id=run_id,
            )
            self.mlflow.make(lambda: client.create_registered_model(name))
            with self.mlflow.process_address():
                created = client.create_model_version(
                    name,
                    f"models:/{model_id}",
                    run_id=run_id,
                    tags=version_tags,
                    description=description,
                    await_creation_for=0,
                    model_id=model_id,
                )
            # A server links the two by itself; a store that we open directly does not.
            link = json.dumps([{"name": name, "version": int(created.version)}])
            client.set_logged_model_tags(model_id, {VERSIONS_TAG: link})
            first = self.first_with(name, **{DIGEST_TAG: bundle.digest})
            if first is not None and first.version < int(created.version):
                # Another caller registered the same bundle meanwhile, through a server.
                client.delete_model_version(name, str(created.version))
                return first
            self.ledger.record(
                name,
                Entry(
                    "create_version",
                    actor,
                    description[:500],
                    int(created.version),
                    digest=bundle.digest,
                ),
            )
        _log.info(
            "model registered",
            extra={"model": name, "model_version": int(created.version), "actor": actor},
        )
        return record_of(created, ())

    def resolve(self, name: str, alias_or_version: str | int) -> ModelVersion:
        """The version that an alias or a number (``3`` or ``"3"``) names, with its aliases.

        Raises:
            ModelNotFound: No such model, version or alias.
            BackendUnavailable: The store cannot be reached or read.
        """
        wanted = str(alias_or_version)
        if not _ALIAS.fullmatch(wanted) or (wanted.isdecimal() and int(wanted) > _MAX_VERSION):
            raise ModelNotFound(f"no model {name!r} with alias {wanted[:100]!r} in the registry")
        client = self.mlflow.client()
        if wanted.isdecimal():
            with self.mlflow.translated(f"version {wanted} of model {name!r}"):
                found = client.get_model_version(name, wanted)
        else:
            with self.mlflow.translated(f"model {name!r} with alias {wanted!r}"):
                found = client.get_model_version_by_alias(name, wanted)
        if DELETED_TAG in found.tags:
            raise ModelNotFound(f"no version {found.version} of model {name!r}: it was deleted")
        return record_of(found, found.aliases)

    def list_versions(self, name: str) -> list[ModelVersion]:
        """All versions of a model, oldest first; empty when there is no such model.

        Raises:
            BackendUnavailable: The store cannot be reached or read.
        """
        check_name(name)
        client = self.mlflow.client()
        try:
            with self.mlflow.translated(f"model {name!r}"):
                model = client.get_registered_model(name)
            targets = model.aliases
            if DELETED_TAG in model.tags:
                return []
            found = self.search(name)
        except ModelNotFound:
            return []
        return [
            record_of(item, (a for a, v in targets.items() if int(v) == int(item.version)))
            for item in sorted(found, key=lambda item: int(item.version))
        ]

    def all_versions(self, aliases: Mapping[str, Mapping[str, int]]) -> list[ModelVersion]:
        """Every version of the models in ``aliases`` (model to alias to number).

        Raises:
            BackendUnavailable: The store cannot be reached or read.
        """
        return [
            record_of(item, (a for a, v in aliases[item.name].items() if v == int(item.version)))
            for item in self.search()
            if item.name in aliases
        ]

    def search(self, name: str = "", **tags: str) -> list[Any]:
        """MLflow's versions of a model (of all without a name) with these tags; without aliases.

        Deleted ones are left out.

        Raises:
            BackendUnavailable: The store cannot be reached or read.
        """
        client = self.mlflow.client()
        terms = [f"name='{name}'"] if name else []
        terms += [f"tags.{key}='{value}'" for key, value in tags.items()]
        what = f"model {name!r}" if name else "versions"
        found = self.mlflow.pages(
            what, client.search_model_versions, " and ".join(terms), max_results=1000
        )
        return [item for item in found if DELETED_TAG not in item.tags]

    def fetch(self, version: ModelVersion, cache_dir: Path) -> Bundle:
        """The version's bundle from this node's cache, filled from the store when missing.

        A bundle that is in the cache is returned without asking the store.

        Raises:
            IntegrityError: What the store holds is not what was registered.
            InvalidBundle: The version was not registered as a bundle.
            BackendUnavailable: The store cannot be reached or read.
        """
        what = f"version {version.version} of model {version.name!r}"
        if not version.digest or version.tags.get(FORMAT_TAG, "bundle") != "bundle":
            raise InvalidBundle(f"{what} is no bundle: register one with `sentigraph register`")
        repository: Any = None

        def download(file_name: str, directory: Path) -> bool:
            nonlocal repository
            try:
                with self.mlflow.translated(f"file {file_name!r} in {what}"):
                    repository = repository or self.mlflow.artifacts(version.name, version.version)
                    repository.download_artifacts(file_name, dst_path=str(directory))
            except ModelNotFound:
                return False
            return True

        with self.mlflow.translated(f"{what} in {cache_dir}"):
            return fetch_bundle(version.digest, cache_dir, download)

    def first_with(self, name: str, **tags: str) -> ModelVersion | None:
        """The lowest version with these tags; None when there is none."""
        numbers = [int(item.version) for item in self.search(name, **tags)]
        return self.resolve(name, min(numbers)) if numbers else None


def check_name(name: str) -> None:
    """Checks a model's name.

    Raises:
        InvalidValue: It is empty, too long, or has other characters.
    """
    if not _NAME.fullmatch(name):
        raise InvalidValue(f"model name {name!r} is not allowed: use letters, digits, _ . -")


def record_of(version: Any, aliases: Iterable[str]) -> ModelVersion:
    """MLflow's version as ours; numbers are strings when they come over HTTP."""
    tags = dict(version.tags)
    return ModelVersion(
        name=version.name,
        version=int(version.version),
        digest=tags.get(DIGEST_TAG, ""),
        labels=labels_in(tags.get(LABELS_TAG, "[]")),
        task=tags.get(TASK_TAG, "single_label"),
        stage=tags.get(STAGE_TAG, "draft"),
        aliases=tuple(sorted(aliases)),
        uri=version.source,
        created_s=int(version.creation_timestamp) / 1000,
        description=version.description or "",
        tags=tags,
        updated_s=int(version.last_updated_timestamp or version.creation_timestamp) / 1000,
    )
