"""Which version the graph starts with.

A champion is probed against the version that answers, and at a start there is none. A champion
that has served before starts without a probe. One that has not (its alias was moved while the
graph was down) waits: the version that served last starts, or the previous champion, and the
reconciler rolls the new one out as usual, with probe and rollback.
"""

import dataclasses
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from configs.schema.app import AppConfig
from deployments.rollout.bundle_server import BundleServer
from deployments.versions import ServedVersion
from registry.errors import BackendUnavailable, ModelNotFound, RegistryError
from registry.lifecycle.state import CHAMPION, PREVIOUS
from registry.model_registry import ModelRegistry
from registry.records import Head

_log = logging.getLogger("ray.serve")


class InitialVersion:
    """Finds the first version, and records on this node which version is live."""

    def __init__(self, config: AppConfig, models: ModelRegistry, bundles: BundleServer) -> None:
        """Reads nothing yet.

        Args:
            config: Model, alias and folders.
            models: The registry.
            bundles: Opens what is chosen, so that replicas can read it.
        """
        self._name, self._alias = config.model.name, config.model.alias
        self._bundled = Path(config.registry.bundled_model_dir)
        self._models = models
        self._bundles = bundles
        folder = Path(config.registry.bundle_cache_dir)
        self._file = folder / f"live-{self._name}-{self._alias}.json"

    def first(self) -> ServedVersion:
        """The version to start with.

        Raises:
            RegistryError: No such model or alias, or its files do not match their digest and
                nothing served before; or MLflow cannot be reached and nothing was live here.
        """
        try:
            version = self._models.ensure_bundled(self._name, self._bundled, self._alias)
        except BackendUnavailable as error:
            _log.warning("registry unreachable, serving the last known version: %s", error)
            return self._last(error)
        last = self._remembered()
        served = last is not None and (last.version, last.digest) == (
            version.version,
            version.digest,
        )
        problem: RegistryError | None = None
        if served or self._models.has_served(version):
            try:
                return self._noted(self._bundles.open(version.version))
            except BackendUnavailable:
                raise
            except RegistryError as error:
                problem = error
        for live in self._known_good(version.version):
            _log.warning(
                "version %s is served first: version %s %s",
                live.version,
                version.version,
                problem or "has not served before and is probed beside it",
            )
            return dataclasses.replace(live, source="last_known")
        if problem is not None:
            raise problem
        return self._noted(self._bundles.open(version.version))

    def note(self, live: ServedVersion) -> None:
        """Records the live version, on this node and in the registry."""
        last = self._remembered()
        if last is not None and (last.version, last.digest) == (live.version, live.digest):
            return
        self._models.mark_served(live.name, live.version, live.digest)
        self._noted(live)

    def _known_good(self, champion: int) -> Iterator[ServedVersion]:
        """The version that was live here last, then the previous champion, if they open."""
        try:
            last = self._last(ModelNotFound("nothing was live here"))
            # A folder may have been left by a node of another registry.
            if self._models.store.resolve(self._name, last.version).digest == last.digest:
                yield last
        except BackendUnavailable:
            raise
        except RegistryError as error:
            _log.info("no last known version here: %s", error.message)
        if self._alias != CHAMPION:
            return
        try:
            before = self._models.store.resolve(self._name, PREVIOUS)
            if before.version != champion:
                yield self._bundles.open(before.version)
        except BackendUnavailable:
            raise
        except RegistryError as error:
            _log.info("no champion before: %s", error.message)

    def _last(self, otherwise: RegistryError) -> ServedVersion:
        last = self._remembered()
        if last is None:
            raise otherwise
        self._bundles.open_stored(last.digest)
        return dataclasses.replace(last, source="last_known")

    def _remembered(self) -> ServedVersion | None:
        try:
            remembered = json.loads(self._file.read_text(encoding="utf-8"))
            remembered["labels"] = tuple(remembered["labels"])
            if (head := remembered.get("head")) is not None:
                tuples = {k: tuple(v) for k, v in head.items() if isinstance(v, list)}
                remembered["head"] = Head(**head | tuples)
            return ServedVersion(**remembered)
        except FileNotFoundError:
            return None

    def _noted(self, live: ServedVersion) -> ServedVersion:
        staging = self._file.with_suffix(f".{os.getpid()}.tmp")
        staging.parent.mkdir(parents=True, exist_ok=True)
        staging.write_text(json.dumps(dataclasses.asdict(live)), encoding="utf-8")
        staging.rename(self._file)
        return live
