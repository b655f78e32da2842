"""How a change of places is made: judged, written to the ledger once, then to MLflow.

``lifecycle.py`` and ``release.py`` decide what shall be; both change it only through
``ChangeWriter.commit``, so of several callers at once exactly one succeeds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from registry.backend.audit_ledger import Entry, Ledger
from registry.backend.connection import Connection
from registry.errors import ApprovalRequired, Conflict, GateFailed, ModelNotFound
from registry.lifecycle.external_changes import ExternalChanges
from registry.lifecycle.gate import Evidence, judge
from registry.lifecycle.reconciler import ObservedState, Reconciler
from registry.lifecycle.state import DesiredState, approved, fold, is_placing
from registry.policy import parse_policy
from registry.records import Event, GateReport

_ATTEMPTS = 5


class ChangeWriter:
    """Judges and writes changes of one store's models. Threads may share it.

    Args:
        mlflow: The store.
        ledger: Where every change is decided and kept.
        evidence: What is known of a version, by model name and number.
        on_move: Called when aliases are written, see ``Reconciler``.
    """

    def __init__(
        self,
        mlflow: Connection,
        ledger: Ledger,
        evidence: Callable[[str, int], Evidence],
        on_move: Callable[[], None],
    ) -> None:
        self.ledger = ledger
        self._evidence = evidence
        outside = ExternalChanges(self.judge, self._is_approved)
        self._settler = Reconciler(mlflow, ledger, outside.answer, on_move)

    def settle(self, name: str) -> tuple[DesiredState, ObservedState]:
        """The model's state; completes what a crash left and records moves made outside.

        Raises:
            ModelNotFound: No such model.
            IntegrityError: The ledger's chain is broken.
        """
        return self._settler.settle(name)

    def known(self, name: str, version: int) -> tuple[DesiredState, ObservedState]:
        """The same for a version that must exist.

        Raises:
            ModelNotFound: No such model or version.
        """
        state, seen = self.settle(name)
        if version not in seen.stages:
            raise ModelNotFound(f"no version {version} of model {name!r}")
        return state, seen

    def judge(
        self, name: str, version: int, state: DesiredState, seen: ObservedState
    ) -> GateReport:
        """The gate's verdict by the model's policy."""
        policy = parse_policy(seen.policy)
        champion = state.champion
        theirs = None
        if champion is not None and champion != version and champion in seen.stages:
            theirs = self._evidence(name, champion)
        return judge(self._evidence(name, version), theirs, policy)

    def check_promotion(
        self, name: str, version: int, state: DesiredState, seen: ObservedState, actor: str
    ) -> Mapping[str, Any]:
        """The passed gate's report as plain values.

        Raises:
            GateFailed: The evidence does not satisfy the model's policy.
            ApprovalRequired: The policy wants a second person to approve first.
        """
        report = self.judge(name, version, state, seen)
        if not report.passed:
            reasons = "; ".join(f"{c.name}: {c.reason}" for c in report.checks if not c.passed)
            raise GateFailed(f"version {version} does not pass the gate: {reasons}")
        if not self._is_approved(name, version, seen, actor):
            raise ApprovalRequired(
                f"version {version} needs the approval of someone other than {actor} first"
            )
        return asdict(report)

    def commit(
        self,
        name: str,
        state: DesiredState,
        seen: ObservedState,
        after: DesiredState,
        *,
        action: str,
        version: int | None,
        actor: str,
        reason: str,
        gate: Mapping[str, Any] | None = None,
    ) -> Event:
        """Makes ``after`` of ``state``, unless somebody moved a version meanwhile.

        Raises:
            Conflict: Someone else changed the model's places meanwhile.
        """
        changed = {v for v in after.stages if after.stages[v] != state.stages.get(v)}
        entry = Entry(
            action,
            actor,
            reason,
            version,
            before={**state.places(), "stages": {str(v): state.stage(v) for v in changed}},
            after={**after.places(), "stages": {str(v): after.stages[v] for v in changed}},
            gate=gate or {},
            digest=seen.digests.get(version, "") if version is not None else "",
        )
        for _ in range(_ATTEMPTS):
            try:
                return self._settler.commit(name, entry, after=state.seq)
            except Conflict:
                events = self.ledger.events(name)
                self._check_untouched(name, events[state.seq :])
                state = fold(events)
        raise Conflict(f"model {name!r} is changed by others without a pause")

    def _is_approved(self, name: str, version: int, seen: ObservedState, actor: str) -> bool:
        if parse_policy(seen.policy).approvals == 0:
            return True
        return approved(self.ledger.events(name), version, seen.digests[version], actor)

    def _check_untouched(self, name: str, since: Sequence[Event]) -> None:
        """Entries that move nobody, such as an evaluation, do not spoil a decision."""
        for event in since:
            if is_placing(event) or event.action in ("delete_model", "delete_version"):
                raise Conflict(
                    f"model {name!r} was changed meanwhile: {event.action} of version "
                    f"{event.version} by {event.actor} (audit entry {event.seq})"
                )
