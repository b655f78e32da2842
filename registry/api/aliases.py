"""Routes of aliases and their history: slots, rollback, audit."""

import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BeforeValidator

from registry.api.changes import ChangeBody
from registry.api.dependencies import ANONYMOUS, PREFIX, Actor, Backend, Name
from registry.api.schemas import (
    AuditPage,
    ChampionAt,
    EventBody,
    Rollback,
    SlotUpdate,
    VersionBody,
    utc,
)
from registry.backend.audit_ledger import champion_at
from registry.errors import ModelNotFound

SLOT_PATH = "/slots/{slot}"


def _written_out(value: object) -> object:
    # pydantic would take a bare number for the seconds since 1970.
    if isinstance(value, str) and not re.match(r"\d{4}-", value):
        raise ValueError("must be a date and a time such as 2026-11-23T10:00:00Z")
    return value


Moment = Annotated[datetime, BeforeValidator(_written_out)]


def alias_routes(backend: Backend) -> APIRouter:
    """The routes of slots, rollback and audit."""
    api = APIRouter(prefix=f"{PREFIX}/{{model_id}}")
    registry = backend.registry

    @api.get("/slots")
    def get_slots(model_id: Name) -> dict[str, VersionBody | float | None]:
        """Champion, challenger, shadow and previous, and the weights of the two slots."""
        state = registry.lifecycle.state(model_id)
        found: dict[str, VersionBody | float | None] = {
            alias: backend.version(registry.store.resolve(model_id, state.aliases[alias]))
            if alias in state.aliases
            else None
            for alias in ("champion", "challenger", "shadow", "previous")
        }
        return found | {f"{slot}_weight": weight for slot, weight in state.weights.items()}

    @api.put(SLOT_PATH)
    def set_slot(
        model_id: Name, slot: str, body: SlotUpdate, actor: Actor = ANONYMOUS
    ) -> ChangeBody:
        """Gives `challenger` or `shadow` to a version in staging, with its share of traffic."""
        found = backend.find(model_id, body.version)
        event = registry.lifecycle.set_slot(
            model_id, slot, found.version, actor=actor, reason=body.reason, weight=body.weight
        )
        return backend.changed(event)

    @api.delete(SLOT_PATH)
    def clear_slot(model_id: Name, slot: str, actor: Actor = ANONYMOUS) -> ChangeBody:
        """Empties a slot."""
        return backend.changed(registry.lifecycle.set_slot(model_id, slot, None, actor=actor))

    @api.post("/rollback")
    def rollback(model_id: Name, body: Rollback, actor: Actor = ANONYMOUS) -> ChangeBody:
        """Makes the champion before champion again; repeated, it goes back further."""
        to = None if body.to_version is None else backend.find(model_id, body.to_version).version
        return backend.changed(
            registry.lifecycle.rollback(model_id, actor=actor, reason=body.reason, to=to)
        )

    @api.get("/audit")
    def audit(
        model_id: Name,
        *,
        action: Annotated[str, Query(max_length=50)] = "",
        actor: Annotated[str, Query(max_length=255)] = "",
        version: Annotated[int | None, Query(ge=1)] = None,
        since: Moment | None = None,
        until: Moment | None = None,
        skip: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ) -> AuditPage:
        """Audit entries, newest first. The whole chain is verified before an answer is given."""
        events = registry.ledger.events(model_id)
        if not events:
            registry.catalog.model(model_id)
        found = [
            event
            for event in reversed(events)
            if action in ("", event.action)
            and actor in ("", event.actor)
            and version in (None, event.version)
            and (since is None or event.at_s >= _aware(since).timestamp())
            and (until is None or event.at_s <= _aware(until).timestamp())
        ]
        return AuditPage(
            model_id=model_id,
            verified=True,
            total=len(found),
            entries=[EventBody.of(event) for event in found[skip : skip + limit]],
        )

    @api.get("/audit/champion")
    def audit_champion(model_id: Name, at: Moment | None = None) -> ChampionAt:
        """Which version was champion at a time (default: now), since when and by whom."""
        moment = _aware(at) if at is not None else datetime.now(UTC)
        events = registry.ledger.events(model_id)
        if not events:
            raise ModelNotFound(f"no audit entries of model {model_id!r}")
        event = champion_at(events, moment.timestamp())
        if event is None:
            return ChampionAt(
                model_id=model_id, at=moment, version=None, digest=None, since=None, actor=None
            )
        return ChampionAt(
            model_id=model_id,
            at=moment,
            version=event.after["aliases"]["champion"],
            digest=event.digest or None,
            since=utc(event.at_s),
            actor=event.actor,
        )

    return api


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
