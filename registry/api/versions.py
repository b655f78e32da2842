"""Routes of versions: create, read, describe, delete."""

from fastapi import APIRouter

from registry.api.dependencies import ANONYMOUS, PREFIX, Actor, Backend, Name, Reason, Reference
from registry.api.schemas import MetadataUpdate, VersionBody, VersionCreate


def version_routes(backend: Backend) -> APIRouter:
    """The routes of versions."""
    api = APIRouter(prefix=f"{PREFIX}/{{model_id}}/versions")
    catalog = backend.registry.catalog

    @api.post("", status_code=201)
    def create_version(
        model_id: Name, body: VersionCreate, actor: Actor = ANONYMOUS
    ) -> VersionBody:
        """A new draft without files; 409 when the model has a version of that name."""
        label = body.version.strip()
        made = catalog.create_version(model_id, label, body.metadata, actor=actor)
        return backend.version(made)

    @api.get("")
    def list_versions(model_id: Name) -> list[VersionBody]:
        """All versions, newest first."""
        return backend.model(model_id).versions

    # Before the next route, which would take "latest" for a version.
    @api.get("/latest")
    def latest_version(model_id: Name) -> VersionBody | None:
        """The version that was made last; null when there is none."""
        found = catalog.latest(model_id)
        return None if found is None else backend.version(found)

    @api.get("/{version}")
    def get_version(model_id: Name, version: Reference) -> VersionBody:
        """One version with its evaluations."""
        return backend.version(backend.find(model_id, version))

    @api.delete("/{version}", status_code=204)
    def delete_version(
        model_id: Name, version: Reference, reason: Reason = "", actor: Actor = ANONYMOUS
    ) -> None:
        """Deletes a version without alias; `sentigraph models restore` undoes it for a day."""
        found = backend.find(model_id, version)
        backend.registry.deletions.delete_version(found, actor=actor, reason=reason)

    @api.patch("/{version}/metadata")
    def update_metadata(
        model_id: Name, version: Reference, body: MetadataUpdate, actor: Actor = ANONYMOUS
    ) -> VersionBody:
        """Replaces all metadata."""
        found = backend.find(model_id, version)
        return backend.version(catalog.update_metadata(found, body.metadata, actor=actor))

    return api
