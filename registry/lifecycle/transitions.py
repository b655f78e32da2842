"""Changes of a version's stage and aliases, for every caller.

draft ─▶ staging ─▶ production ─▶ archived, the aliases ``champion``, ``previous``,
``challenger`` and ``shadow``, and their weights. REST, the command line and the
pipeline call these methods; ``reconciler.py`` finds a change made in the MLflow UI, and the
same rules hold for it. One version is in production: the champion.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from registry.backend.audit_ledger import Entry
from registry.errors import IllegalTransition, InvalidValue, StaleRevision
from registry.lifecycle.commit import ChangeWriter
from registry.lifecycle.state import (
    PREVIOUS,
    PRODUCTION,
    SLOTS,
    STAGES,
    STAGING,
    DesiredState,
    check_legal,
    fold,
    moved,
)
from registry.records import Event, GateReport


class Lifecycle:
    """Stages and aliases of all models of one store. Threads may share it."""

    def __init__(self, changes: ChangeWriter) -> None:
        self._changes = changes

    def state(self, name: str) -> DesiredState:
        """The model's state, after interrupted and external changes were completed or undone.

        Raises:
            ModelNotFound: No such model.
            IntegrityError: The ledger's chain is broken.
        """
        return self._changes.begin(name).desired

    def is_desired(
        self, name: str, aliases: Mapping[str, int], weights: Mapping[str, float]
    ) -> bool:
        """Whether these are the aliases and weights by the ledger; reconciles nothing."""
        state = fold(self._changes.ledger.events(name))
        return (dict(state.aliases), dict(state.weights)) == (dict(aliases), dict(weights))

    def gate(self, name: str, version: int) -> GateReport:
        """The verdict that a promotion would get now; changes nothing."""
        return self._changes.evaluate_gate(self._changes.begin(name, version), version)

    def transition(
        self,
        name: str,
        version: int,
        to: str,
        *,
        actor: str,
        reason: str = "",
        expected_seq: int | None = None,
        retire: bool = False,
    ) -> Event:
        """Moves a version to another stage.

        In ``production`` it becomes the champion, and the champion before is archived and
        becomes ``previous``. Of several promotions at once exactly one succeeds.

        Args:
            name: Registered model.
            version: Its number.
            to: ``draft``, ``staging``, ``production`` or ``archived``.
            actor: Who does it.
            reason: Why.
            expected_seq: Number of audit entries that the caller has seen.
            retire: Archive the champion although no version replaces it.

        Raises:
            ModelNotFound: No such model or version.
            IllegalTransition: The lifecycle has no such step.
            GateFailed: The evidence does not satisfy the model's policy.
            ApprovalRequired: The policy wants a second person to approve first.
            Conflict: Someone else changed the model's aliases or stages meanwhile.
        """
        if to not in STAGES:
            raise InvalidValue(f"stage {to!r} is none of {', '.join(STAGES)}")
        change = self._changes.begin(name, version)
        state = change.desired
        if expected_seq not in (None, state.seq):
            raise StaleRevision(
                f"model {name!r} has {state.seq} audit entries, you have seen {expected_seq}"
            )
        check_legal(version, stage := state.stage(version), to)
        gate: Mapping[str, Any] = {}
        if to in (STAGING, PRODUCTION):
            change.check_files()
        if stage == PRODUCTION and not retire:
            raise IllegalTransition(
                f"version {version} is the champion: promote another version, roll back, or "
                f"retire it explicitly"
            )
        if to == PRODUCTION:
            gate = change.check_promotion(actor)
        action = "promote" if to == PRODUCTION else "retire" if retire else f"to_{to}"
        after = moved(state, version, to)
        return change.commit(after, action=action, actor=actor, reason=reason, gate=gate)

    def rollback(self, name: str, *, actor: str, reason: str, to: int | None = None) -> Event:
        """Makes the champion before, or ``to``, champion again; the present one is archived.

        Repeated, it goes back further. There is no gate: the version has served before.

        Raises:
            ModelNotFound: No such model.
            IllegalTransition: There is no earlier champion, or ``to`` never was one.
        """
        if not reason.strip():
            raise InvalidValue("a rollback needs a reason")
        change = self._changes.begin(name)
        state, exists = change.desired, change.observed.stages
        earlier = [v for v in state.champions[:-1] if v in exists and v != state.champion]
        target = to if to is not None else (earlier[-1] if earlier else None)
        if target is None or target not in earlier:
            known = ", ".join(map(str, dict.fromkeys(earlier))) or "none"
            raise IllegalTransition(f"model {name!r} cannot go back; earlier champions: {known}")
        before = earlier[: len(earlier) - earlier[::-1].index(target) - 1]
        after = moved(state, target, PRODUCTION)
        aliases = {k: v for k, v in after.aliases.items() if k != PREVIOUS}
        if before:
            aliases[PREVIOUS] = before[-1]
        after = replace(after, aliases=aliases)
        return change.commit(after, action="rollback", actor=actor, reason=reason, version=target)

    def set_slot(
        self,
        name: str,
        slot: str,
        version: int | None,
        *,
        actor: str,
        reason: str = "",
        weight: float = 1.0,
    ) -> Event:
        """Gives ``challenger`` or ``shadow`` to a version in staging, or empties it.

        Args:
            name: Registered model.
            slot: ``challenger`` (answers its share) or ``shadow`` (gets it, never answers).
            version: Its number; None empties the slot.
            actor: Who does it.
            reason: Why.
            weight: Share of traffic, 0.0001 to 1.

        Raises:
            InvalidValue: No such slot, or a weight out of range.
            IllegalTransition: The version is not in staging.
        """
        if slot not in SLOTS:
            raise InvalidValue(f"slot {slot!r} is none of {', '.join(SLOTS)}")
        if not 0.0001 <= weight <= 1:
            raise InvalidValue(f"weight {weight} is not between 0.0001 and 1")
        change = self._changes.begin(name, version)
        state = change.desired
        if version is not None and (stage := state.stage(version)) != STAGING:
            raise IllegalTransition(
                f"version {version} is in {stage}; only a version in {STAGING} can be {slot}"
            )
        aliases = {a: v for a, v in state.aliases.items() if a != slot}
        weights = {s: w for s, w in state.weights.items() if s != slot}
        action, subject = "clear_slot", state.aliases.get(slot)
        if version is not None:
            aliases[slot], weights[slot] = version, round(weight, 4)
            action, subject = "set_slot", version
        after = replace(state, aliases=aliases, weights=weights)
        return change.commit(after, action=action, actor=actor, reason=reason, version=subject)

    def decide(self, name: str, version: int, *, approve: bool, actor: str, reason: str) -> Event:
        """Records an approval or a rejection of the version's present files."""
        digest = self._changes.begin(name, version).observed.digests[version]
        action = "approve" if approve else "reject"
        return self._changes.ledger.record(
            name, Entry(action, actor, reason, version, digest=digest)
        )
