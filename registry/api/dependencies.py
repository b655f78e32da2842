"""Dependencies of all routes: the registry, path parameters, the actor, bodies of models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from fastapi import Header, Path, Query

from registry.api.changes import ChangeBody
from registry.api.schemas import ModelBody, VersionBody, model_body, version_body
from registry.catalog.evaluations import Evaluation, logged_model_id
from registry.catalog.uploads import Uploads
from registry.lifecycle.pending import pending_change
from registry.model_registry import ModelRegistry
from registry.records import Event, ModelVersion

PREFIX = "/api/v1/models"
Actor = Annotated[
    str,
    Header(
        alias="X-Actor",
        min_length=1,
        max_length=255,
        description="Who asks, for the audit ledger. A gateway that knows its callers sets it.",
    ),
]
ANONYMOUS = "anonymous"
Reason = Annotated[str, Query(max_length=500, description="Why; kept in the audit ledger.")]
Name = Annotated[str, Path(min_length=1, max_length=255, pattern=r"^[\w.\-]+$")]
Reference = Annotated[
    str,
    Path(
        min_length=1,
        max_length=100,
        pattern=r"^[\w.\-+]+$",
        description="A version's label, its number, or an alias such as `champion`.",
    ),
]


class Changes(Protocol):
    """Notifies of changed aliases."""

    async def wait(self, since: str | None, timeout_s: float) -> tuple[str, Mapping[str, Any]]:
        """The present revision and every model's aliases; waits while ``since`` is present."""
        ...


@dataclass(frozen=True, slots=True)
class Backend:
    """The registry behind the routes.

    Attributes:
        registry: Models, versions, aliases, evaluations.
        uploads: Files.
        changes: Notifies of changed aliases.
        served: Name of the model that the server follows.
    """

    registry: ModelRegistry
    uploads: Uploads
    changes: Changes
    served: str = ""

    def changed(self, event: Event) -> ChangeBody:
        """A change's body; what is served waits for the rollout."""
        pending = pending_change(event) if event.model == self.served else None
        return ChangeBody.of(event).model_copy(update={"pending": pending})

    def find(self, name: str, reference: str) -> ModelVersion:
        """The version that a label, number or alias names."""
        return self.registry.catalog.version(name, reference)

    def version(self, found: ModelVersion) -> VersionBody:
        """A version's body with its evaluations."""
        return version_body(found, self.registry.evaluations.of(found), PREFIX)

    def model(self, name: str) -> ModelBody:
        """A model's body with all its versions."""
        info = self.registry.catalog.model(name)
        evaluations = self.registry.evaluations.by_logged_model()
        versions = self.registry.store.list_versions(name)
        return model_body(info, [_with(version, evaluations) for version in versions])

    def models(self) -> list[ModelBody]:
        """Bodies of all models, by name."""
        evaluations = self.registry.evaluations.by_logged_model()
        versions: dict[str, list[VersionBody]] = {}
        infos = self.registry.catalog.models()
        aliases = {info.name: info.aliases for info in infos}
        for version in self.registry.store.all_versions(aliases):
            versions.setdefault(version.name, []).append(_with(version, evaluations))
        return [model_body(info, versions.get(info.name, [])) for info in infos]


def _with(version: ModelVersion, evaluations: Mapping[str, list[Evaluation]]) -> VersionBody:
    mine = evaluations.get(logged_model_id(version) or "", [])
    return version_body(version, mine, PREFIX)
