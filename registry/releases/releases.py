"""Automatic releases: a candidate's way through shadow and canary to production, or back.

Each step is a change of places like any other: judged, written to the ledger by exactly
one of several callers, then to MLflow. Who takes the steps is
``deployments/rollout/release_driver.py``; what was seen meanwhile is kept in a tag, so that a
restart of everything goes on from there.
"""

from dataclasses import asdict, replace
from typing import Any

from registry.backend.connection import Connection
from registry.errors import Conflict, IllegalTransition, InvalidValue
from registry.lifecycle.commit import ChangeWriter
from registry.lifecycle.state import (
    ARCHIVED,
    DRAFT,
    PRODUCTION,
    SLOTS,
    STAGING,
    DesiredState,
    check_legal,
    moved,
)
from registry.policy import ReleasePolicy, parse_policy
from registry.records import Event, GateReport, Release
from registry.releases.decision import ReleaseDecision, ReleaseProgress, parse_progress

ACTOR = "release"
PROGRESS_TAG = "release.progress"


class Releases:
    """The releases of one store's models. Threads may share it."""

    def __init__(self, mlflow: Connection, changes: ChangeWriter) -> None:
        self._mlflow = mlflow
        self._changes = changes

    def start(self, name: str, version: int, *, actor: str, reason: str = "") -> Event:
        """Begins a release; a draft goes to staging first. A model has one release at a time.

        Raises:
            ModelNotFound: No such model or version.
            Conflict: Another release is under way, or someone was faster.
            IllegalTransition: The version cannot go to production, or there is no champion.
            GateFailed: A promotion would be refused now.
            ApprovalRequired: The policy wants a second person to approve first.
        """
        state, seen = self._changes.known(name, version)
        if state.release is not None:
            raise Conflict(
                f"version {state.release.version} of model {name!r} is being released since audit "
                f"entry {state.release.id}: abort that first"
            )
        if state.champion is None:
            raise IllegalTransition(
                f"model {name!r} has no champion to compare with: promote version {version}"
            )
        for slot in SLOTS:
            if state.aliases.get(slot, version) != version:
                raise Conflict(
                    f"slot {slot} is held by version {state.aliases[slot]}: empty it first"
                )
        stage = state.stage(version)
        check_legal(version, STAGING if stage == DRAFT else stage, PRODUCTION)
        if not seen.digests[version]:
            raise IllegalTransition(f"version {version} has no stored files: upload them first")
        gate = self._changes.check_promotion(name, version, state, seen, actor)
        policy = parse_policy(seen.policy).release
        steps = (policy.shadow_weight, *policy.canary_weights)
        release = Release(0, version, state.champion, actor, steps, 0 if steps[0] else 1)
        after = _placed(moved(state, version, STAGING), release)
        return self._changes.commit(
            name,
            state,
            seen,
            after,
            action="release_start",
            version=version,
            actor=actor,
            reason=reason,
            gate=gate,
        )

    def go_on(self, name: str, release: Release, verdict: ReleaseDecision) -> Event:
        """The next step, or the promotion after the last one.

        Raises:
            Conflict: The release is not in that step any more.
            GateFailed: The gate's verdict has changed since the start.
            ApprovalRequired: So has the approval.
        """
        state, seen = self._changes.known(name, release.version)
        _check_same(state, release)
        following = release.step + 1
        if following < len(release.steps):
            moved_on = replace(release, step=following)
            return self._changes.commit(
                name,
                state,
                seen,
                _placed(state, moved_on),
                action="release_step",
                version=release.version,
                actor=ACTOR,
                reason=verdict.reason,
                gate=_shown(verdict),
            )
        gate = self._changes.check_promotion(name, release.version, state, seen, release.actor)
        tests = _shown(verdict)
        return self._changes.commit(
            name,
            state,
            seen,
            moved(state, release.version, PRODUCTION),
            action="promote",
            version=release.version,
            actor=release.actor,
            reason=f"automatic release {release.id}: all {len(release.steps)} steps passed",
            # The policy's checks and the tests of the last step are both why.
            gate={**tests, "checks": [*gate["checks"], *tests["checks"]]},
        )

    def roll_back(
        self, name: str, release: Release, reason: str, verdict: ReleaseDecision | None
    ) -> Event:
        """Takes the candidate's places away and archives it, with the reason.

        Raises:
            Conflict: The release is over, or someone changed it meanwhile.
        """
        state, seen = self._changes.known(name, release.version)
        if state.release is None or state.release.id != release.id:
            raise Conflict(f"release {release.id} of model {name!r} is over")
        return self._changes.commit(
            name,
            state,
            seen,
            moved(state, release.version, ARCHIVED),
            action="release_rollback",
            version=release.version,
            actor=ACTOR,
            reason=reason[:500],
            gate=_shown(verdict) if verdict is not None else {},
        )

    def hold(self, name: str, *, actor: str, reason: str) -> Event:
        """Stays in the present step until a person resumes or aborts.

        Raises:
            InvalidValue: No reason was given.
            IllegalTransition: No release is under way.
        """
        if not reason.strip():
            raise InvalidValue("holding a release needs a reason")
        return self._set_held(name, reason[:300], "release_hold", actor, reason)

    def resume(self, name: str, *, actor: str, reason: str = "") -> Event:
        """Goes on with the step; its shortest and longest time begin anew.

        Raises:
            IllegalTransition: No release is under way.
        """
        return self._set_held(name, "", "release_resume", actor, reason)

    def abort(self, name: str, *, actor: str, reason: str) -> Event:
        """Ends the release; the version loses its slots and stays in staging.

        Raises:
            IllegalTransition: No release is under way.
        """
        state, seen = self._changes.settle(name)
        release = _under_way(name, state)
        return self._changes.commit(
            name,
            state,
            seen,
            _without_slots(state, release.version),
            action="release_abort",
            version=release.version,
            actor=actor,
            reason=reason[:500],
        )

    def look(self, name: str) -> tuple[Release | None, str, ReleasePolicy]:
        """The release under way, what has become of its places, and the present policy.

        Returns:
            The release; why it cannot go on because somebody changed places by hand, or ``""``.
        """
        state, seen = self._changes.settle(name)
        policy = parse_policy(seen.policy).release
        release = state.release
        if release is None:
            return None, "", policy
        if state.champion != release.champion:
            return release, f"version {state.champion} became champion meanwhile", policy
        if state.aliases.get(release.slot) != release.version:
            return release, f"the alias {release.slot} was taken from the version", policy
        return release, "", policy

    def progress(self, name: str) -> ReleaseProgress:
        """What the release has seen, as it was kept last."""
        with self._mlflow.translated(f"model {name!r}"):
            tags = self._mlflow.client().get_registered_model(name).tags
        return parse_progress(tags.get(PROGRESS_TAG, ""))

    def keep(self, name: str, progress: ReleaseProgress) -> None:
        """Keeps what was seen, for a restart and for whoever asks."""
        with self._mlflow.translated(f"model {name!r}"):
            client = self._mlflow.client()
            client.set_registered_model_tag(name, PROGRESS_TAG, progress.text())

    def _set_held(self, name: str, held: str, action: str, actor: str, reason: str) -> Event:
        state, seen = self._changes.settle(name)
        release = _under_way(name, state)
        return self._changes.commit(
            name,
            state,
            seen,
            replace(state, release=replace(release, held=held)),
            action=action,
            version=release.version,
            actor=actor,
            reason=reason[:500],
        )


def _under_way(name: str, state: DesiredState) -> Release:
    if state.release is None:
        raise IllegalTransition(f"no release of model {name!r} is under way")
    return state.release


def _check_same(state: DesiredState, release: Release) -> None:
    now = state.release
    if now is None or (now.id, now.step, now.held) != (release.id, release.step, release.held):
        raise Conflict(f"release {release.id} was changed meanwhile: look again")


def _without_slots(state: DesiredState, version: int) -> DesiredState:
    aliases = {a: v for a, v in state.aliases.items() if a not in SLOTS or v != version}
    weights = {slot: weight for slot, weight in state.weights.items() if slot in aliases}
    return replace(state, aliases=aliases, weights=weights, release=None)


def _placed(state: DesiredState, release: Release) -> DesiredState:
    """The state in which the candidate holds the slot of its step and no other."""
    bare = _without_slots(state, release.version)
    return replace(
        bare,
        aliases={**bare.aliases, release.slot: release.version},
        weights={**bare.weights, release.slot: release.weight},
        release=release,
    )


def _shown(verdict: ReleaseDecision) -> dict[str, Any]:
    passed = all(check.passed for check in verdict.checks)
    return asdict(GateReport(passed, verdict.checks))
