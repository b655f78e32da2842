"""Routes of a version's stage: status, promotion, gate, approval."""

from typing import Annotated

from fastapi import APIRouter, Header, Response

from registry.api.changes import MovedVersion
from registry.api.dependencies import ANONYMOUS, PREFIX, Actor, Backend, Name, Reference
from registry.api.schemas import (
    Decision,
    DecisionBody,
    GateBody,
    Promotion,
    StatusUpdate,
)
from registry.catalog.metadata import approval_note

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        pattern=r'^"\d{1,9}"$',
        description="`ETag` of the model; when it has changed since, the answer is 412.",
    ),
]


def stage_routes(backend: Backend) -> APIRouter:
    """The routes of stages."""
    api = APIRouter(prefix=f"{PREFIX}/{{model_id}}/versions/{{version}}")
    lifecycle = backend.registry.lifecycle

    def move(
        model_id: str, version: str, body: Promotion, actor: str, if_match: str | None
    ) -> MovedVersion:
        found = backend.find(model_id, version)
        event = lifecycle.transition(
            model_id,
            found.version,
            body.to_status,
            actor=actor,
            reason=body.reason,
            expected_seq=None if if_match is None else int(if_match.strip('"')),
            retire=body.retire,
        )
        after = backend.version(backend.registry.store.resolve(model_id, found.version))
        return MovedVersion(**dict(after), pending=backend.changed(event).pending)

    @api.patch("/status")
    def update_status(
        model_id: Name,
        version: Reference,
        body: StatusUpdate,
        actor: Actor = ANONYMOUS,
        if_match: IfMatch = None,
    ) -> MovedVersion:
        """Moves a version to another stage, by the same rules as a promotion."""
        promotion = Promotion(to_status=body.status, reason=body.reason)
        return move(model_id, version, promotion, actor, if_match)

    @api.post("/promote")
    def promote(
        model_id: Name,
        version: Reference,
        body: Promotion,
        actor: Actor = ANONYMOUS,
        if_match: IfMatch = None,
    ) -> MovedVersion:
        """Moves a version to another stage; 409 names the legal ones, or the gate's reasons."""
        return move(model_id, version, body, actor, if_match)

    @api.get("/gate")
    def gate(model_id: Name, version: Reference, response: Response) -> GateBody:
        """The verdict that a promotion to production would get now; changes nothing."""
        found = backend.find(model_id, version)
        response.headers["Cache-Control"] = "no-store"
        return GateBody.of(lifecycle.gate(model_id, found.version))

    @api.post("/approval")
    def decide(
        model_id: Name, version: Reference, body: Decision, actor: Actor = ANONYMOUS
    ) -> DecisionBody:
        """Approves or rejects the version's present files; `note` says when it may not count."""
        found = backend.find(model_id, version)
        event = lifecycle.decide(
            model_id, found.version, approve=body.approve, actor=actor, reason=body.reason
        )
        note = approval_note(found, actor) if body.approve else ""
        return DecisionBody.of(event).model_copy(update={"note": note or None})

    return api
