"""Automatic releases: a candidate's way through shadow and canary to production, or back.

Each step is a ``Change`` like any other: written to the ledger by exactly one of several
callers, then to MLflow. ``deployments/rollout/release_driver.py`` takes the steps; progress
is saved in a tag, so that a restart continues with it.
"""

from dataclasses import asdict, replace
from typing import Any

from registry.backend.connection import Connection
from registry.backend.tags import PROGRESS_TAG
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
from registry.policy import ReleasePolicy
from registry.records import Event, GateReport, Release
from registry.releases.decision import ReleaseDecision, ReleaseProgress, parse_progress

ACTOR = "release"


class Releases:
    """The releases of one store's models. Threads may share it."""

    def __init__(self, mlflow: Connection, changes: ChangeWriter) -> None:
        self._mlflow = mlflow
        self._changes = changes

    def start(self, name: str, version: int, *, actor: str, reason: str = "") -> Event:
        """Begins a release; a draft goes to staging first. A model has one release at a time.

        Raises:
            ModelNotFound: No such model or version.
            Conflict: Another release is under way, or another caller was faster.
            IllegalTransition: The version cannot go to production, or there is no champion.
            GateFailed: A promotion would be refused now, or the version is known to be worse.
            ApprovalRequired: The policy wants a second person to approve first.
        """
        change = self._changes.begin(name, version)
        state = change.desired
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
        change.check_files()
        gate = change.check_release(actor)
        policy = change.policy.release
        steps = (policy.shadow_weight, *policy.canary_weights)
        release = Release(0, version, state.champion, actor, steps, 0 if steps[0] else 1)
        after = _in_step(moved(state, version, STAGING), release)
        return change.commit(after, action="release_start", actor=actor, reason=reason, gate=gate)

    def advance(self, name: str, release: Release, decision: ReleaseDecision) -> Event:
        """Takes the next step, or promotes after the last one.

        Raises:
            Conflict: The release is not in that step any more.
            GateFailed: The gate's verdict has changed since the start.
            ApprovalRequired: So has the approval.
        """
        change = self._changes.begin(name, release.version)
        _check_same(change.desired, release)
        tests = _as_gate(decision)
        if release.step + 1 < len(release.steps):
            after = _in_step(change.desired, replace(release, step=release.step + 1))
            return change.commit(
                after, action="release_step", actor=ACTOR, reason=decision.reason, gate=tests
            )
        gate = change.check_release(release.actor)
        return change.commit(
            moved(change.desired, release.version, PRODUCTION),
            action="promote",
            actor=release.actor,
            reason=f"automatic release {release.id}: all {len(release.steps)} steps passed",
            # The policy's checks and the tests of the last step are both why.
            gate={**tests, "checks": [*gate["checks"], *tests["checks"]]},
        )

    def roll_back(
        self, name: str, release: Release, reason: str, decision: ReleaseDecision | None
    ) -> Event:
        """Empties the candidate's slots and archives it, with the reason.

        Raises:
            Conflict: The release is over, or another caller changed it.
        """
        change = self._changes.begin(name, release.version)
        if change.desired.release is None or change.desired.release.id != release.id:
            raise Conflict(f"release {release.id} of model {name!r} is over")
        return change.commit(
            moved(change.desired, release.version, ARCHIVED),
            action="release_rollback",
            actor=ACTOR,
            reason=reason[:500],
            gate=_as_gate(decision) if decision is not None else {},
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
        """Continues the step; its shortest and longest time begin anew.

        Raises:
            IllegalTransition: No release is under way.
        """
        return self._set_held(name, "", "release_resume", actor, reason)

    def abort(self, name: str, *, actor: str, reason: str) -> Event:
        """Ends the release; the version loses its slots and stays in staging.

        Raises:
            IllegalTransition: No release is under way.
        """
        change = self._changes.begin(name)
        version = _under_way(name, change.desired).version
        return change.commit(
            _without_slots(change.desired, version),
            action="release_abort",
            version=version,
            actor=actor,
            reason=reason[:500],
        )

    def status(self, name: str) -> tuple[Release | None, str, ReleasePolicy]:
        """The release under way and the present policy.

        Returns:
            The release; why it cannot continue because aliases were changed by hand, or ``""``;
            the policy.
        """
        change = self._changes.begin(name)
        state, policy, problem = change.desired, change.policy.release, ""
        release = state.release
        if release is not None and state.champion != release.champion:
            problem = f"version {state.champion} became champion meanwhile"
        elif release is not None and state.aliases.get(release.slot) != release.version:
            problem = f"the alias {release.slot} was taken from the version"
        return release, problem, policy

    def progress(self, name: str) -> ReleaseProgress:
        """The progress that was saved last."""
        with self._mlflow.translated(f"model {name!r}"):
            tags = self._mlflow.client().get_registered_model(name).tags
        return parse_progress(tags.get(PROGRESS_TAG, ""))

    def save_progress(self, name: str, progress: ReleaseProgress) -> None:
        """Saves progress, for a restart and for readers."""
        with self._mlflow.translated(f"model {name!r}"):
            client = self._mlflow.client()
            client.set_registered_model_tag(name, PROGRESS_TAG, progress.text())

    def _set_held(self, name: str, held: str, action: str, actor: str, reason: str) -> Event:
        change = self._changes.begin(name)
        release = _under_way(name, change.desired)
        after = replace(change.desired, release=replace(release, held=held))
        return change.commit(
            after, action=action, actor=actor, reason=reason[:500], version=release.version
        )


def _under_way(name: str, state: DesiredState) -> Release:
    if state.release is None:
        raise IllegalTransition(f"no release of model {name!r} is under way")
    return state.release


def _check_same(state: DesiredState, release: Release) -> None:
    now = state.release
    if now is None or (now.id, now.step, now.held) != (release.id, release.step, release.held):
        raise Conflict(f"release {release.id} was changed meanwhile: read it again")


def _without_slots(state: DesiredState, version: int) -> DesiredState:
    aliases = {a: v for a, v in state.aliases.items() if a not in SLOTS or v != version}
    weights = {slot: weight for slot, weight in state.weights.items() if slot in aliases}
    return replace(state, aliases=aliases, weights=weights, release=None)


def _in_step(state: DesiredState, release: Release) -> DesiredState:
    """The state in which the candidate holds the slot of its step and no other."""
    without = _without_slots(state, release.version)
    return replace(
        without,
        aliases={**without.aliases, release.slot: release.version},
        weights={**without.weights, release.slot: release.weight},
        release=release,
    )


def _as_gate(decision: ReleaseDecision) -> dict[str, Any]:
    passed = all(check.passed for check in decision.checks)
    return asdict(GateReport(passed, decision.checks))
