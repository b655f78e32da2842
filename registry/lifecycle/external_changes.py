"""What the registry says to aliases and stages that were moved outside, in the MLflow UI.

The ``champion`` alias is the authority, so a person's move counts like a promotion: it
is judged by the model's policy and then recorded, or undone with the reasons. A stage
tag alone moves nobody; it is set back.
"""

from collections.abc import Callable
from dataclasses import asdict, replace

from registry.backend.audit_ledger import Entry
from registry.errors import InvalidValue
from registry.lifecycle.reconciler import ObservedState
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
Judge = Callable[[str, int, DesiredState, ObservedState], GateReport]
IsApproved = Callable[[str, int, ObservedState, str], bool]


class ExternalChanges:
    """Compares what the ledger says with what MLflow shows."""

    def __init__(self, judge: Judge, is_approved: IsApproved) -> None:
        self._judge = judge
        self._is_approved = is_approved

    def answer(self, name: str, state: DesiredState, seen: ObservedState) -> Entry | None:
        """The entry that brings both into step; None when they are."""
        if state.changed is None:
            return self._first_look(seen)
        if (champion := self._champion(name, state, seen)) is not None:
            return champion
        wanted = _repaired(state, seen)
        slots = {s: v for s in SLOTS if (v := seen.aliases.get(s)) is not None}
        adopted = replace(
            wanted,
            aliases={**{a: v for a, v in wanted.aliases.items() if a not in SLOTS}, **slots},
            weights={s: seen.weights.get(s, wanted.weights.get(s, 1.0)) for s in slots},
            stages={
                **wanted.stages,
                **{v: STAGING for v in slots.values() if state.stage(v) != PRODUCTION},
            },
        )
        if (adopted.aliases, adopted.weights) != (state.aliases, state.weights):
            about = next((v for s, v in slots.items() if state.aliases.get(s) != v), None)
            return _entry("outside_move", about, state, adopted, seen, reason="a slot was changed")
        if wanted.aliases != seen.aliases or _wrong_stages(state, seen):
            reason = "alias or stage tags were changed by hand"
            return _entry("restore", None, state, wanted, seen, reason=reason)
        return None

    def _first_look(self, seen: ObservedState) -> Entry | None:
        """A model that was managed without a ledger so far is taken as it is."""
        stages = {v: s for v, s in seen.stages.items() if s in (STAGING, ARCHIVED)}
        if not seen.aliases and not stages:
            return None
        if (champion := seen.aliases.get(CHAMPION)) is not None:
            stages[champion] = PRODUCTION
        weights = {s: seen.weights.get(s, 1.0) for s in SLOTS if s in seen.aliases}
        found = DesiredState(aliases=dict(seen.aliases), stages=stages, weights=weights)
        return _entry(
            "adopt",
            champion,
            DesiredState(),
            found,
            seen,
            reason="found in MLflow without a ledger",
        )

    def _champion(self, name: str, state: DesiredState, seen: ObservedState) -> Entry | None:
        before, now = state.champion, seen.aliases.get(CHAMPION)
        if now == before or (now is None and before not in seen.stages and before is None):
            return None
        if now is None:
            return self._champion_gone(state, seen)
        checks = [*self._findings(name, now, state, seen)]
        passed = all(check.passed for check in checks)
        gate = asdict(GateReport(passed, tuple(checks)))
        if not passed:
            reason = "; ".join(f"{c.name}: {c.reason}" for c in checks if not c.passed)
            wanted = _repaired(state, seen)
            entry = _entry("refuse_outside_move", now, state, wanted, seen, reason=reason[:500])
            return replace(entry, gate=gate)
        aliases = {**state.aliases, CHAMPION: now}
        stages = {**state.stages, now: PRODUCTION}
        if before is not None:
            aliases[PREVIOUS] = before
            stages[before] = ARCHIVED
        for slot in SLOTS:
            if aliases.get(slot) == now:
                del aliases[slot]
        weights = {s: w for s, w in state.weights.items() if s in aliases}
        after = replace(state, aliases=aliases, stages=stages, weights=weights)
        reason = "the champion alias was moved outside"
        return replace(_entry("outside_move", now, state, after, seen, reason=reason), gate=gate)

    def _findings(
        self, name: str, version: int, state: DesiredState, seen: ObservedState
    ) -> list[Check]:
        recorded = state.digests.get(version)
        same = recorded is None or recorded == seen.digests.get(version)
        checks = [Check("digest", same, "as recorded" if same else "not the recorded files")]
        try:
            checks.extend(self._judge(name, version, state, seen).checks)
            if not self._is_approved(name, version, seen, ACTOR):
                checks.append(Check("approval", False, "nobody approved this version"))
        except InvalidValue as error:
            checks.append(Check("policy", False, error.message))
        return checks

    def _champion_gone(self, state: DesiredState, seen: ObservedState) -> Entry:
        if state.champion in seen.stages:
            reason = "the champion alias was deleted; a model in production keeps one"
            return _entry(
                "restore", state.champion, state, _repaired(state, seen), seen, reason=reason
            )
        earlier = [v for v in state.reigns[:-1] if v in seen.stages]
        repaired = _repaired(state, seen)
        aliases = {a: v for a, v in repaired.aliases.items() if a != PREVIOUS}
        stages = dict(repaired.stages)
        if earlier:
            aliases[CHAMPION] = earlier[-1]
            stages[earlier[-1]] = PRODUCTION
        after = replace(repaired, aliases=aliases, stages=stages)
        reason = f"champion {state.champion} was deleted outside"
        return _entry(
            "rollback", earlier[-1] if earlier else None, state, after, seen, reason=reason
        )


def _repaired(state: DesiredState, seen: ObservedState) -> DesiredState:
    """The ledger's state without versions that are no longer there."""
    aliases = {a: v for a, v in state.aliases.items() if v in seen.stages}
    weights = {s: w for s, w in state.weights.items() if s in aliases}
    stages = {v: s for v, s in state.stages.items() if v in seen.stages}
    return replace(state, aliases=aliases, weights=weights, stages=stages)


def _wrong_stages(state: DesiredState, seen: ObservedState) -> dict[int, str]:
    """Versions whose tag is not the ledger's stage; a missing tag is a draft's."""
    return {
        version: state.stage(version)
        for version, tag in seen.stages.items()
        if (tag or "draft") != state.stage(version)
    }


def _entry(
    action: str,
    version: int | None,
    state: DesiredState,
    after: DesiredState,
    seen: ObservedState,
    *,
    reason: str,
) -> Entry:
    stages = {v: s for v, s in after.stages.items() if s != state.stages.get(v)}
    stages |= {v: after.stage(v) for v in _wrong_stages(state, seen)}
    return Entry(
        action,
        ACTOR,
        reason,
        version,
        before={**state.places(), "stages": {str(v): state.stage(v) for v in stages}},
        after={**after.places(), "stages": {str(v): s for v, s in sorted(stages.items())}},
        digest=seen.digests.get(version, "") if version is not None else "",
    )
