"""The whole registry of one store, put together. Other packages start here."""

from collections.abc import Callable
from pathlib import Path

from registry.backend.retries import retried
from registry.backend.store import RegistryStore
from registry.backend.tags import SERVED_TAG
from registry.bundles.bundle import open_bundle
from registry.catalog.catalog import Catalog
from registry.catalog.deletion import Deletions
from registry.catalog.evaluations import Evaluations
from registry.errors import Conflict, IllegalTransition, InvalidValue, ModelNotFound
from registry.lifecycle.commit import ChangeWriter
from registry.lifecycle.state import CHAMPION, DRAFT, PREVIOUS, PRODUCTION, SLOTS, STAGING
from registry.lifecycle.transitions import Lifecycle
from registry.records import ModelVersion
from registry.releases.releases import Releases

_BOOTSTRAP = "bootstrap"
_ATTEMPTS = 50


class ModelRegistry:
    """Store, ledger, lifecycle and catalogue on one connection. Threads may share it.

    Nothing is imported or opened before the first call.

    Args:
        tracking_uri: See ``RegistryStore``.
        artifact_root: See ``RegistryStore``.
        on_move: Called, in the thread of the change, when aliases and weights are written and
            stage tags and descriptions are about to be.

    Attributes:
        store: Registers, resolves and fetches bundles.
        ledger: Every change, its actor and reason.
        lifecycle: Stages and aliases.
        releases: Automatic releases.
        evaluations: Evaluations and their metrics.
        catalog: Models and versions with their descriptions.
        deletions: Deletes and restores both.
    """

    def __init__(
        self,
        tracking_uri: str,
        artifact_root: Path | str,
        on_move: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = RegistryStore(tracking_uri, artifact_root)
        self.ledger = self.store.ledger
        self.evaluations = Evaluations(self.store)
        changes = ChangeWriter(self.store.mlflow, self.ledger, self.evaluations.evidence, on_move)
        self.lifecycle = Lifecycle(changes)
        self.releases = Releases(self.store.mlflow, changes)
        self.catalog = Catalog(self.store, self.lifecycle)
        self.deletions = Deletions(self.store, self.lifecycle)

    def ensure_bundled(self, name: str, bundle_dir: Path, alias: str) -> ModelVersion:
        """The version that ``alias`` names; an empty registry gets the bundle as its first one.

        When the model has no version yet, the bundle is registered and given ``alias``.
        Safe when several processes start at once.

        Raises:
            ModelNotFound: The model has versions, but none has that alias.
            InvalidBundle: The bundle does not open.
            BackendUnavailable: The store cannot be reached, read or written.
        """
        try:
            return self.store.resolve(name, alias)
        except ModelNotFound:
            digest = open_bundle(bundle_dir).digest
            # A start that was interrupted before the alias leaves the bundle alone.
            for known in self.store.list_versions(name):
                if known.digest != digest or known.stage == "archived":
                    raise
        made = self.store.register(name, bundle_dir, actor=_BOOTSTRAP, description="Bundled model.")

        def point() -> ModelVersion:
            try:
                return self.store.resolve(name, alias)
            except ModelNotFound:
                reason = "the registry was empty"
                return self.point(name, alias, made.version, actor=_BOOTSTRAP, reason=reason)

        # Fails while another process that starts at the same time is in the middle of it.
        return retried(point, on=(Conflict, IllegalTransition), attempts=_ATTEMPTS)

    def has_served(self, version: ModelVersion) -> bool:
        """Whether a graph has probed and served these files of the version."""
        return bool(version.digest) and version.tags.get(SERVED_TAG) == version.digest

    def mark_served(self, name: str, version: int, digest: str) -> None:
        """Records that replicas have probed these files and serve them.

        Raises:
            BackendUnavailable: The store cannot be written.
        """
        with self.store.mlflow.translated(f"version {version} of model {name!r}"):
            client = self.store.mlflow.client()
            client.set_model_version_tag(name, str(version), SERVED_TAG, digest)

    def point(
        self, name: str, alias: str, version: int, *, actor: str, reason: str
    ) -> ModelVersion:
        """Points ``alias`` at a version, by way of every stage in between.

        Aliases that the lifecycle does not know are set as they are; the last writer wins.

        Raises:
            ModelNotFound: No such model or version.
            RegistryError: The lifecycle refuses, see ``Lifecycle.transition``.
        """
        lifecycle = self.lifecycle
        if alias == CHAMPION or alias in SLOTS:
            if lifecycle.state(name).aliases.get(alias) == version:
                return self.store.resolve(name, version)
            if lifecycle.state(name).stage(version) == DRAFT:
                lifecycle.transition(name, version, STAGING, actor=actor, reason=reason)
            if alias == CHAMPION:
                lifecycle.transition(name, version, PRODUCTION, actor=actor, reason=reason)
            else:
                lifecycle.set_slot(name, alias, version, actor=actor, reason=reason)
        elif alias == PREVIOUS:
            raise InvalidValue(f"alias {PREVIOUS!r} follows the champion: roll back instead")
        else:
            with self.store.mlflow.translated(f"version {version} of model {name!r}"):
                client = self.store.mlflow.client()
                client.set_registered_model_alias(name, alias, str(version))
        return self.store.resolve(name, version)
