"""Routes of automatic releases: start, status, hold, resume, abort."""

import time
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from registry.api.changes import ChangeBody
from registry.api.dependencies import ANONYMOUS, PREFIX, Actor, Backend, Name, Reference
from registry.api.schemas import Answer, EventBody, Reason, Request, utc
from registry.errors import ModelNotFound
from registry.lifecycle.pending import pending_release
from registry.records import Release
from registry.releases.decision import ReleaseDecision, ReleaseTest, decide
from registry.releases.outcome import last_outcome


class ReleaseChange(Request):
    """Begins or resumes a release."""

    reason: Reason = ""


class ReleaseEnd(Request):
    """Holds or aborts a release."""

    reason: Annotated[Reason, Field(min_length=1)]


class ReleaseBody(Answer):
    """A release under way."""

    model_id: str
    id: int = Field(description="Audit entry that began it.")
    version: int
    champion: int
    actor: str
    steps: list[float] = Field(description="Shares of traffic: as shadow first, then answering.")
    step: int = Field(description="Position in `steps`.")
    slot: str
    weight: float
    since: datetime = Field(description="When the step began, or was resumed.")
    held: str | None = Field(description="Why it waits for a person.")
    verdict: str = Field(description="`wait`, `go_on`, `hold` or `roll_back`, by the tests.")
    reason: str
    tests: list[ReleaseTest]
    not_counted: dict[str, int] = Field(
        default_factory=dict, description="Judged answers that count for nothing here, by why."
    )


def release_routes(backend: Backend) -> APIRouter:
    """The routes of releases."""
    api = APIRouter(prefix=f"{PREFIX}/{{model_id}}")
    releases = backend.registry.releases

    @api.post("/versions/{version}/release", status_code=202)
    def start_release(
        model_id: Name, version: Reference, body: ReleaseChange, actor: Actor = ANONYMOUS
    ) -> ChangeBody:
        """Begins a release: shadow, canary steps, promotion, by the model's `policy.release`.

        409 when another one is under way, or the gate would refuse the promotion now.
        """
        found = backend.find(model_id, version)
        event = releases.start(model_id, found.version, actor=actor, reason=body.reason)
        pending = pending_release(event)
        if model_id != backend.served:
            pending = f"{pending}; this server follows model {backend.served!r}"
        return ChangeBody.of(event).model_copy(update={"pending": pending})

    @api.get("/release")
    def release_status(model_id: Name) -> ReleaseBody:
        """The release that is under way, with every test's state; 404 when there is none."""
        release, problem, policy = releases.status(model_id)
        if release is None:
            last = last_outcome(backend.registry.ledger.events(model_id))
            raise ModelNotFound(
                f"no release of model {model_id!r} is under way; {last or 'there was none'}"
            )
        progress = releases.progress(model_id).at(release)
        decision = decide(progress, policy, release.steps, time.time() - release.since_s)
        body = _body(model_id, release, decision, problem)
        return body.model_copy(update={"not_counted": dict(progress.not_counted)})

    @api.post("/release/hold")
    def hold_release(model_id: Name, body: ReleaseEnd, actor: Actor = ANONYMOUS) -> EventBody:
        """Stays in the present step; the tests go on and may still roll back."""
        return EventBody.of(releases.hold(model_id, actor=actor, reason=body.reason))

    @api.post("/release/resume")
    def resume_release(model_id: Name, body: ReleaseChange, actor: Actor = ANONYMOUS) -> EventBody:
        """Continues a release that is held."""
        return EventBody.of(releases.resume(model_id, actor=actor, reason=body.reason))

    @api.post("/release/abort")
    def abort_release(model_id: Name, body: ReleaseEnd, actor: Actor = ANONYMOUS) -> EventBody:
        """Ends the release; the version loses its slots and stays in staging."""
        return EventBody.of(releases.abort(model_id, actor=actor, reason=body.reason))

    return api


def _body(model: str, release: Release, decision: ReleaseDecision, problem: str) -> ReleaseBody:
    """A release as its body; ``problem`` is why it cannot continue, empty when it can."""
    return ReleaseBody(
        model_id=model,
        id=release.id,
        version=release.version,
        champion=release.champion,
        actor=release.actor,
        steps=list(release.steps),
        step=release.step,
        slot=release.slot,
        weight=release.weight,
        since=utc(release.since_s),
        held=release.held or None,
        verdict=decision.action,
        reason=problem or decision.reason,
        tests=list(decision.checks),
    )
