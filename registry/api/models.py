"""Routes of models: create, list, search, read, change, delete, watch."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from registry.api.dependencies import ANONYMOUS, PREFIX, Actor, Backend, Name
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
            and _any_version_tagged(body, _words(tags), every=tags_mode == "all")
        ]
        response.headers["X-Total-Count"] = str(len(found))
        return found[skip : skip + limit]

    @api.get("/search")
    def search_versions(
        *,
        text: Annotated[str, Query(max_length=255)] = "",
        tags: TagList = "",
        tags_mode: Literal["any", "all"] = "any",
        stage: Literal["", "draft", "staging", "production", "archived"] = "",
        alias: Annotated[str, Query(max_length=255)] = "",
        author: Annotated[str, Query(max_length=255)] = "",
        framework: Annotated[str, Query(max_length=100)] = "",
        algorithm: Annotated[str, Query(max_length=100)] = "",
        dataset_name: Annotated[str, Query(max_length=255)] = "",
        hyperparameter: Annotated[list[str] | None, Query(max_length=10)] = None,
        metric: Annotated[list[str] | None, Query(max_length=10)] = None,
        dataset: Annotated[str, Query(max_length=255)] = "",
        sort: Annotated[str, Query(max_length=120)] = "name",
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        cursor: Annotated[str | None, Query(max_length=600)] = None,
    ) -> SearchPage:
        """Versions of all models. `metric` is like `accuracy>=0.9`, on `dataset` if that is given;
        `hyperparameter` is like `epochs>=3` or `optimizer==adam`; both may be repeated.
        """
        query = search.Query(
            text=text,
            tags=_words(tags),
            every_tag=tags_mode == "all",
            stage=stage,
            alias=alias,
            author=author,
            framework=framework,
            algorithm=algorithm,
            dataset_name=dataset_name,
            hyperparameters=hyperparameter or (),
            metrics=metric or (),
            dataset=dataset,
            sort=sort,
        )
        candidates = _candidates(backend, with_figures=bool(metric) or "metric:" in sort)
        page, total, following = search.search(candidates, query, limit=limit, cursor=cursor)
        items = [backend.version(candidate.version) for candidate in page]
        return SearchPage(items=items, total=total, next_cursor=following)

    @api.get("/watch")
    async def watch(
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
    def delete_model(model_id: Name, actor: Actor = ANONYMOUS) -> None:
        """Deletes a model that is not served, with its versions; the audit ledger stays."""
        catalog.delete_model(model_id, actor=actor)

    return api


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _any_version_tagged(body: ModelBody, wanted: list[str], *, every: bool) -> bool:
    tagged = (search.has_tags(v.metadata.tags, wanted, every=every) for v in body.versions)
    return not wanted or any(tagged)


def _candidates(backend: Backend, *, with_figures: bool) -> list[search.Candidate]:
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
