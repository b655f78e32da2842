"""Models of the registry: find and describe them, give slots to versions, audit, compare."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from sentigraph_client._call import (
    AsyncResource,
    Call,
    SyncResource,
    filled,
    given,
    operation,
)
from sentigraph_client._models import (
    AuditPage,
    ChampionAt,
    ChangeBody,
    ModelBody,
    SearchPage,
    VersionBody,
)

Slot = Literal["challenger", "shadow"]
_MODELS = "/api/v1/models"
_MODEL = "/api/v1/models/{}"
_SLACK_S = 10.0


class _Models:
    @operation("create_model")
    def create(self, name: str, *, description: str = "") -> Call[ModelBody]:
        """A new model without versions; ``Conflict`` when the name is taken."""
        return Call("POST", _MODELS, ModelBody, json={"name": name, "description": description})

    @operation("list_models")
    def list(
        self,
        *,
        skip: int = 0,
        limit: int = 100,
        search: str | None = None,
        tags: Sequence[str] = (),
        tags_mode: Literal["any", "all"] = "any",
    ) -> Call[list[ModelBody]]:
        """Models by name."""
        query = {
            "skip": skip,
            "limit": limit,
            "search": search,
            "tags": ",".join(tags) or None,
            "tags_mode": tags_mode,
        }
        return Call("GET", _MODELS, _LIST, query=query)

    @operation("search_versions")
    def search(
        self,
        *,
        text: str | None = None,
        tags: Sequence[str] = (),
        tags_mode: Literal["any", "all"] = "any",
        stage: str | None = None,
        alias: str | None = None,
        author: str | None = None,
        framework: str | None = None,
        algorithm: str | None = None,
        dataset_name: str | None = None,
        hyperparameter: Sequence[str] = (),
        metric: Sequence[str] = (),
        dataset: str | None = None,
        sort: str = "name",
        limit: int = 100,
        cursor: str | None = None,
    ) -> Call[SearchPage]:
        """A page of versions of all models that match all conditions.

        Args:
            text: Part of the name, a description or the label.
            tags: Any or all of them, by ``tags_mode``.
            tags_mode: See ``tags``.
            stage: `draft`, `staging`, `production` or `archived`.
            alias: That points at it.
            author: Exactly.
            framework: Exactly.
            algorithm: Exactly.
            dataset_name: As its author gave it, exactly.
            hyperparameter: Conditions such as ``epochs>=3``.
            metric: Conditions such as ``accuracy>=0.9`` on the newest figure.
            dataset: Only figures on this dataset count.
            sort: `name`, `version`, `created_at`, `updated_at` or `metric:NAME`; `-` reverses.
            limit: Versions of a page.
            cursor: ``next_cursor`` of the page before.
        """
        query = given(
            text=text,
            tags=",".join(tags) or None,
            tags_mode=tags_mode,
            stage=stage,
            alias=alias,
            author=author,
            framework=framework,
            algorithm=algorithm,
            dataset_name=dataset_name,
            hyperparameter=[*hyperparameter],
            metric=[*metric],
            dataset=dataset,
            sort=sort,
            limit=limit,
            cursor=cursor,
        )
        return Call("GET", f"{_MODELS}/search", SearchPage, query=query)

    @operation("watch_models")
    def watch(self, *, since: str | None = None, timeout_s: float = 25.0) -> Call[dict[str, Any]]:
        """The present revision and all aliases; waits until they differ from ``since``."""
        query = {"since": since, "timeout_s": timeout_s}
        return Call("GET", f"{_MODELS}/watch", _JSON, query=query, timeout_s=timeout_s + _SLACK_S)

    @operation("get_model")
    def get(self, model: str) -> Call[ModelBody]:
        """A model with its versions; ``response_headers["etag"]`` is for ``if_match``."""
        return Call("GET", filled(_MODEL, model), ModelBody)

    @operation("update_model")
    def update(
        self,
        model: str,
        *,
        name: str | None = None,
        description: str | None = None,
        policy: Mapping[str, Any] | None = None,
    ) -> Call[ModelBody]:
        """Changes name, description or policy."""
        body = given(name=name, description=description, policy=policy)
        return Call("PATCH", filled(_MODEL, model), ModelBody, json=body)

    @operation("delete_model")
    def delete(self, model: str, *, reason: str = "") -> Call[None]:
        """Deletes a model that is not served, with its versions."""
        query = {"reason": reason or None}
        return Call("DELETE", filled(_MODEL, model), type(None), query=query)

    @operation("get_slots")
    def slots(self, model: str) -> Call[dict[str, VersionBody | float | None]]:
        """Champion, challenger, shadow and previous, and the weights of the two slots."""
        return Call("GET", filled(f"{_MODEL}/slots", model), _SLOTS)

    @operation("set_slot")
    def set_slot(
        self, model: str, slot: Slot, version: str, *, weight: float = 1.0, reason: str = ""
    ) -> Call[ChangeBody]:
        """Gives a slot to a version in staging, with its share of traffic."""
        body = {"version": version, "weight": weight, "reason": reason}
        return Call("PUT", filled(f"{_MODEL}/slots/{{}}", model, slot), ChangeBody, json=body)

    @operation("clear_slot")
    def clear_slot(self, model: str, slot: Slot) -> Call[ChangeBody]:
        """Empties a slot."""
        return Call("DELETE", filled(f"{_MODEL}/slots/{{}}", model, slot), ChangeBody)

    @operation("rollback")
    def rollback(
        self, model: str, *, reason: str, to_version: str | None = None
    ) -> Call[ChangeBody]:
        """Makes the champion before champion again, or an earlier one."""
        body = given(reason=reason, to_version=to_version)
        return Call("POST", filled(f"{_MODEL}/rollback", model), ChangeBody, json=body)

    @operation("audit")
    def audit(
        self,
        model: str,
        *,
        action: str | None = None,
        actor: str | None = None,
        version: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        skip: int = 0,
        limit: int = 100,
    ) -> Call[AuditPage]:
        """Audit entries, newest first."""
        query = given(
            action=action,
            actor=actor,
            version=version,
            since=None if since is None else since.isoformat(),
            until=None if until is None else until.isoformat(),
            skip=skip,
            limit=limit,
        )
        return Call("GET", filled(f"{_MODEL}/audit", model), AuditPage, query=query)

    @operation("audit_champion")
    def champion(self, model: str, *, at: datetime | None = None) -> Call[ChampionAt]:
        """Which version was champion at a time (default: now), since when and by whom."""
        query = given(at=None if at is None else at.isoformat())
        return Call("GET", filled(f"{_MODEL}/audit/champion", model), ChampionAt, query=query)

    @operation("compare")
    def compare(self, model: str, a: str, b: str) -> Call[dict[str, Any]]:
        """Two versions: figures on equal datasets, labels, metadata, parameters and files."""
        return Call("GET", filled(f"{_MODEL}/compare", model), _JSON, query={"a": a, "b": b})

    @operation("compare_metric")
    def rank(
        self,
        model: str,
        metric: str,
        *,
        direction: Literal["higher", "lower"] | None = None,
        dataset: str | None = None,
    ) -> Call[dict[str, Any]]:
        """Versions by a metric, best first, those without it last."""
        query = given(direction=direction, dataset=dataset)
        return Call("GET", filled(f"{_MODEL}/compare/{{}}", model, metric), _JSON, query=query)

    @operation("metric_trend")
    def trend(self, model: str, metric: str, *, dataset: str | None = None) -> Call[dict[str, Any]]:
        """A metric's figures of all versions, oldest version first."""
        query = given(metric=metric, dataset=dataset)
        return Call("GET", filled(f"{_MODEL}/metrics/trend", model), _JSON, query=query)

    @operation("metric_trend_png")
    def trend_png(self, model: str, metric: str, *, dataset: str | None = None) -> Call[bytes]:
        """The same as a picture."""
        query = given(metric=metric, dataset=dataset)
        return Call("GET", filled(f"{_MODEL}/metrics/trend.png", model), bytes, query=query)

    @operation("metric_visualization")
    def figures(self, model: str) -> Call[dict[str, Any]]:
        """All figures of all versions, by version."""
        return Call("GET", filled(f"{_MODEL}/metrics/visualization", model), _JSON)


class Models(_Models, SyncResource):
    """Models of the sync client."""

    def iter_search(self, **conditions: Any) -> Iterator[VersionBody]:
        """All versions that match, page by page; conditions are those of ``search``."""
        cursor = None
        while True:
            page = self.search(**conditions, cursor=cursor)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return


class AsyncModels(_Models, AsyncResource):
    """Models of the async client."""

    async def iter_search(self, **conditions: Any) -> AsyncIterator[VersionBody]:
        """See ``Models.iter_search``."""
        cursor = None
        while True:
            page = await self.search(**conditions, cursor=cursor)
            for version in page.items:
                yield version
            cursor = page.next_cursor
            if cursor is None:
                return


# Below the classes, whose method ``list`` hides the type's name.
_LIST = list[ModelBody]
_JSON = dict[str, Any]
_SLOTS = dict[str, VersionBody | float | None]
