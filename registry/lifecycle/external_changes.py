"""Accepts or undoes aliases and stages that were changed outside, in the MLflow UI.

The ``champion`` alias is the authority, so moving it counts as a promotion: the model's
policy decides whether it is recorded or undone, with the reasons. A stage tag alone
changes no alias and is set back.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial

from registry.backend.audit_ledger import Entry
from registry.errors import InvalidValue
from registry.lifecycle.reconciler import Snapshot
from registry.lifecycle.state import (
    ARCHIVED,
    CHAMPION,
    PREVIOUS,
    PRODUCTION,
    SLOTS,
    STAGING,
    DesiredState,
)
from registry.records import Check, GateReport

ACTOR = "mlflow-ui"


class ExternalChanges:
    """Compares desired with observed state.

    Args:
        evaluate_gate: The gate's verdict on a version of the snapshot's model.
        is_approved: Whether someone other than the given actor approved the version.
    """

    def __init__(
        self,
        evaluate_gate: Callable[[Snapshot, int], GateReport],
        is_approved: Callable[[Snapshot, int, str], bool],
    ) -> None:
        self._evaluate_gate = evaluate_gate
        self._is_approved = is_approved

    def resolve(self, snapshot: Snapshot) -> Entry | None:
        """The entry that makes both states equal; None when they are."""
        desired, observed = snapshot.desired, snapshot.observed
        if desired.last_change is None:
            return _adoption(snapshot)
        if (champion := self._champion_entry(snapshot)) is not None:
            return champion
        entry = _entries(snapshot)
        existing = _existing(snapshot)
        slots = {s: v for s in SLOTS if (v := observed.aliases.get(s)) is not None}
        adopted = replace(
            existing,
            aliases={**{a: v for a, v in existing.aliases.items() if a not in SLOTS}, **slots},
            weights={s: observed.weights.get(s, existing.weights.get(s, 1.0)) for s in slots},
            stages={
                **existing.stages,
                **{v: STAGING for v in slots.values() if desired.stage(v) != PRODUCTION},
            },
        )
        if (adopted.aliases, adopted.weights) != (desired.aliases, desired.weights):
            moved = next((v for s, v in slots.items() if desired.aliases.get(s) != v), None)
            reason = "a slot was changed"
            return entry(adopted, action="outside_move", version=moved, reason=reason)
        if existing.aliases != observed.aliases or _wrong_stages(snapshot):
            reason = "alias or stage tags were changed by hand"
            return entry(existing, action="restore", version=None, reason=reason)
        return None

    def _champion_entry(self, snapshot: Snapshot) -> Entry | None:
        desired, observed = snapshot.desired, snapshot.observed
        before, now = desired.champion, observed.aliases.get(CHAMPION)
        if now == before:
            return None
        if now is None:
            return _champion_gone(snapshot)
        entry = partial(_entries(snapshot), version=now)
        if now not in observed.stages:
            reason = f"version {now} was deleted"
            return entry(_existing(snapshot), action="refuse_outside_move", reason=reason)
        checks = (*self._checks(snapshot, now),)
        report = GateReport(all(check.passed for check in checks), checks)
        if not report.passed:
            return entry(
                _existing(snapshot),
                action="refuse_outside_move",
                reason=report.reasons[:500],
                gate=asdict(report),
            )
        aliases = {**desired.aliases, CHAMPION: now}
        stages = {**desired.stages, now: PRODUCTION}
        if before is not None:
            aliases[PREVIOUS] = before
            stages[before] = ARCHIVED
        for slot in SLOTS:
            if aliases.get(slot) == now:
                del aliases[slot]
        weights = {s: w for s, w in desired.weights.items() if s in aliases}
        return entry(
            replace(desired, aliases=aliases, stages=stages, weights=weights),
            action="outside_move",
            reason="the champion alias was moved outside",
            gate=asdict(report),
        )

    def _checks(self, snapshot: Snapshot, version: int) -> Iterator[Check]:
        recorded = snapshot.desired.digests.get(version)
        same = recorded is None or recorded == snapshot.observed.digests.get(version)
        yield Check("digest", same, "as recorded" if same else "not the recorded files")
        try:
            yield from self._evaluate_gate(snapshot, version).checks
            if not self._is_approved(snapshot, version, ACTOR):
                yield Check("approval", False, "this version is not approved")
        except InvalidValue as error:
            yield Check("policy", False, error.message)


def _adoption(snapshot: Snapshot) -> Entry | None:
    """The first entry of a model that had aliases or stages before it had a ledger."""
    observed = snapshot.observed
    stages = {v: s for v, s in observed.stages.items() if s in (STAGING, ARCHIVED)}
    if not observed.aliases and not stages:
        return None
    if (champion := observed.aliases.get(CHAMPION)) is not None:
        stages[champion] = PRODUCTION
    weights = {s: observed.weights.get(s, 1.0) for s in SLOTS if s in observed.aliases}
    adopted = DesiredState(aliases=dict(observed.aliases), stages=stages, weights=weights)
    reason = "found in MLflow without a ledger"
    entry = _entries(replace(snapshot, desired=DesiredState()))
    return entry(adopted, action="adopt", version=champion, reason=reason)


def _champion_gone(snapshot: Snapshot) -> Entry:
    """The entry that restores a deleted alias, or replaces a champion that was deleted itself."""
    desired, observed = snapshot.desired, snapshot.observed
    entry, existing = _entries(snapshot), _existing(snapshot)
    if desired.champion in observed.stages:
        reason = "the champion alias was deleted; a model in production keeps one"
        return entry(existing, action="restore", version=desired.champion, reason=reason)
    earlier = next((v for v in desired.champions[-2::-1] if v in observed.stages), None)
    aliases = {a: v for a, v in existing.aliases.items() if a != PREVIOUS}
    stages = dict(existing.stages)
    if earlier is not None:
        aliases[CHAMPION] = earlier
        stages[earlier] = PRODUCTION
    reason = f"champion {desired.champion} was deleted outside"
    after = replace(existing, aliases=aliases, stages=stages)
    return entry(after, action="rollback", version=earlier, reason=reason)


def _existing(snapshot: Snapshot) -> DesiredState:
    """The desired state without versions that were deleted."""
    desired, exists = snapshot.desired, snapshot.observed.stages
    aliases = {a: v for a, v in desired.aliases.items() if v in exists}
    weights = {s: w for s, w in desired.weights.items() if s in aliases}
    stages = {v: s for v, s in desired.stages.items() if v in exists}
    return replace(desired, aliases=aliases, weights=weights, stages=stages)


def _wrong_stages(snapshot: Snapshot) -> list[int]:
    """Versions whose tag is not the desired stage; a missing tag is a draft's."""
    stage = snapshot.desired.stage
    return [v for v, tag in snapshot.observed.stages.items() if (tag or "draft") != stage(v)]


def _entries(snapshot: Snapshot) -> Callable[..., Entry]:
    """``Snapshot.entry`` in this module's name; sets wrong stage tags right as well."""
    return partial(snapshot.entry, actor=ACTOR, also=_wrong_stages(snapshot))
