"""Routes of models: create, list, search, read, change, delete, watch."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from registry.api.dependencies import ANONYMOUS, PREFIX, Actor, Backend, Name, Reason
from registry.api.schemas import ModelBody, ModelCreate, ModelUpdate, SearchPage
from registry.catalog import search
from registry.catalog.compare import with_declared
from registry.catalog.evaluations import logged_model_id
from registry.catalog.metadata import metadata_of

TagList = Annotated[
    str, Query(max_length=300, description="Comma list of tags, in any order and case-exact.")
]


def model_routes(backend: Backend) -> APIRouter:
    """The routes of models."""
    api = APIRouter(prefix=PREFIX)
    catalog = backend.registry.catalog

    # With a slash as well, as the specification writes it.
    @api.post("/", status_code=201, include_in_schema=False)
    @api.post("", status_code=201)
    def create_model(body: ModelCreate, actor: Actor = ANONYMOUS) -> ModelBody:
        """A new model without versions; 409 when the name is taken."""
        catalog.create_model(body.name, body.description, actor=actor)
        return backend.model(body.name)

    @api.get("/", include_in_schema=False)
    @api.get("")
    def list_models(
        response: Response,
        *,
        skip: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        search: Annotated[str, Query(max_length=255)] = "",
        tags: TagList = "",
        tags_mode: Literal["any", "all"] = "any",
    ) -> list[ModelBody]:
        """Models by name; `X-Total-Count` says how many match. Text and tags narrow together."""
        text = search.casefold()
        found = [
            body
            for body in backend.models()
            if (text in body.name.casefold() or text in body.description.casefold())
            and _any_version_tagged(body, tags, tags_mode)
        ]
        response.headers["X-Total-Count"] = str(len(found))
        return found[skip : skip + limit]

    @api.get("/search")
    def search_versions(query: Annotated[search.Query, Query()]) -> SearchPage:
        """Versions of all models; `metric` and `hyperparameter` may be repeated."""
        with_figures = bool(query.metric) or "metric:" in query.sort
        page, total, following = search.search(_candidates(backend, with_figures), query)
        items = [backend.version(candidate.version) for candidate in page]
        return SearchPage(items=items, total=total, next_cursor=following)

    @api.get("/watch")
    async def watch_models(
        since: Annotated[str | None, Query(max_length=100)] = None,
        timeout_s: Annotated[float, Query(ge=0, le=60)] = 25,
    ) -> dict[str, Any]:
        """Waits until an alias or weight changed since revision `since`, at most `timeout_s`."""
        revision, aliases = await backend.changes.wait(since, timeout_s)
        return {"revision": revision, "models": aliases}

    @api.get("/{model_id}")
    def get_model(model_id: Name, response: Response) -> ModelBody:
        """A model with its versions; its `ETag` goes into `If-Match` of a change."""
        seq = backend.registry.lifecycle.state(model_id).seq
        response.headers["ETag"] = f'"{seq}"'
        return backend.model(model_id)

    @api.patch("/{model_id}")
    def update_model(model_id: Name, body: ModelUpdate, actor: Actor = ANONYMOUS) -> ModelBody:
        """Changes name, description or policy; a model that is served keeps its name."""
        info = catalog.update_model(
            model_id,
            actor=actor,
            description=body.description,
            new_name=body.name,
            policy=body.policy,
        )
        return backend.model(info.name)

    @api.delete("/{model_id}", status_code=204)
    def delete_model(model_id: Name, reason: Reason = "", actor: Actor = ANONYMOUS) -> None:
        """Deletes a model that is not served, with its versions; the audit ledger stays.

        409 while one is in staging. `sentigraph models restore` undoes it for a day.
        """
        backend.registry.deletions.delete_model(model_id, actor=actor, reason=reason)

    return api


def _any_version_tagged(body: ModelBody, tags: str, mode: str) -> bool:
    if not tags.strip(" ,"):
        return True
    return any(search.has_tags(version.metadata.tags, tags, mode) for version in body.versions)


def _candidates(backend: Backend, with_figures: bool) -> list[search.Candidate]:
    registry = backend.registry
    infos = {info.name: info for info in registry.catalog.models()}
    figures = registry.evaluations.measurements_by_model() if with_figures else {}
    aliases = {name: info.aliases for name, info in infos.items()}
    return [
        search.Candidate(
            version,
            metadata_of(version),
            infos[version.name].description,
            with_declared(version, figures.get(logged_model_id(version) or "", ())),
        )
        for version in registry.store.all_versions(aliases)
    ]
