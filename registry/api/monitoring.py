"""What the specification asks of models below ``/api/v1/monitoring/models``; all of it is read."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from registry.api.dependencies import Backend, Name
from registry.api.schemas import ModelBody, VersionBody
from registry.errors import ModelNotFound

PREFIX = "/api/v1/monitoring/models"


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class VersionStage(_Body):
    """A version and where it is in its life."""

    version: int
    stage: str


class MonitoredModel(_Body):
    """A model and its versions."""

    name: str
    creation_timestamp: datetime | None
    last_updated_timestamp: datetime | None
    description: str
    latest_versions: list[VersionStage] = Field(description="All of them, the latest first.")


class MonitoredModels(_Body):
    """Answer to `GET /monitoring/models`."""

    enabled: bool = True
    count: int = Field(description="How many match, also beyond `max_results`.")
    models: list[MonitoredModel]


class ProductionVersion(_Body):
    """The version in production."""

    name: str
    version: int
    stage: str
    source: str = Field(description="Digest of its bundle.")
    run_id: str | None
    status: str
    creation_timestamp: datetime | None
    tags: list[str]


class MonitoredVersions(_Body):
    """Answer to `GET /monitoring/models/{name}/versions`."""

    model_name: str
    production_versions: list[ProductionVersion]
    versions: list[VersionStage] = Field(description="All of them, the latest first.")
    count: int


def monitoring_routes(backend: Backend) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix=PREFIX, tags=["monitoring"])

    @api.get("")
    def monitored_models(
        filter_string: Annotated[
            str, Query(max_length=255, description="Part of the name, in any case.")
        ] = "",
        max_results: Annotated[int, Query(ge=1, le=100)] = 10,
    ) -> MonitoredModels:
        """Registered models with all versions and their stages."""
        wanted = filter_string.casefold()
        found = [model for model in backend.models() if wanted in model.name.casefold()]
        shown = [_model(model) for model in found[:max_results]]
        return MonitoredModels(count=len(found), models=shown)

    @api.get("/{model_name}/production")
    def production_version(model_name: Name) -> ProductionVersion:
        """The version that serves; 404 when there is none."""
        model = backend.model(model_name)
        found = _in_production(model)
        if not found:
            raise ModelNotFound(f"no version of {model_name} is in production")
        champion = model.aliases.get("champion")
        return next((each for each in found if each.version == champion), found[0])

    @api.get("/{model_name}/versions")
    def monitored_versions(model_name: Name) -> MonitoredVersions:
        """Every version of a model, and those in production."""
        model = backend.model(model_name)
        return MonitoredVersions(
            model_name=model.name,
            production_versions=_in_production(model),
            versions=_stages(model),
            count=len(model.versions),
        )

    return api


def _model(model: ModelBody) -> MonitoredModel:
    return MonitoredModel(
        name=model.name,
        creation_timestamp=model.created_at,
        last_updated_timestamp=model.updated_at,
        description=model.description,
        latest_versions=_stages(model),
    )


def _stages(model: ModelBody) -> list[VersionStage]:
    return [VersionStage(version=each.number, stage=each.status) for each in model.versions]


def _in_production(model: ModelBody) -> list[ProductionVersion]:
    return [_production(each) for each in model.versions if each.status == "production"]


def _production(version: VersionBody) -> ProductionVersion:
    return ProductionVersion(
        name=version.model_id,
        version=version.number,
        stage=version.status,
        source=version.digest or "",
        run_id=version.id,
        status="READY",
        creation_timestamp=version.created_at,
        tags=list(version.metadata.tags),
    )
