"""How aliases and stages are changed: checked, written to the ledger once, then to MLflow.

``transitions.py`` and ``releases.py`` decide what shall be; both begin a ``Change`` and commit
it, so of several callers at once exactly one succeeds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from registry.backend.audit_ledger import Ledger
from registry.backend.connection import Connection
from registry.backend.retries import retried
from registry.errors import (
    ApprovalRequired,
    Conflict,
    EntryTaken,
    GateFailed,
    IllegalTransition,
    ModelNotFound,
)
from registry.lifecycle.external_changes import ExternalChanges
from registry.lifecycle.gate import Evidence, check_known_accuracy, evaluate_gate
from registry.lifecycle.reconciler import Reconciler, Snapshot
from registry.lifecycle.state import DesiredState, changes_aliases, is_approved
from registry.policy import Policy, parse_policy
from registry.records import Check, Event, GateReport


class ChangeWriter:
    """Begins changes of one store's models. Threads may share it.

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
        external = ExternalChanges(self.evaluate_gate, self.is_approved)
        self.reconciler = Reconciler(mlflow, ledger, external.resolve, on_move)

    def begin(self, name: str, version: int | None = None) -> "Change":
        """The model's reconciled state, from which a change of ``version`` can be committed.

        Raises:
            ModelNotFound: No such model or version.
            IntegrityError: The ledger's chain is broken.
        """
        found = self.reconciler.reconcile(name)
        if version is not None and version not in found.observed.stages:
            raise ModelNotFound(f"no version {version} of model {name!r}")
        return Change(name, found.desired, found.observed, self, version)

    def evaluate_gate(self, snapshot: Snapshot, version: int) -> GateReport:
        """The gate's verdict on a version by the model's policy."""
        champion = snapshot.desired.champion
        compared = champion != version and champion in snapshot.observed.stages
        return evaluate_gate(
            self._evidence(snapshot.name, version),
            self._evidence(snapshot.name, champion) if compared and champion is not None else None,
            parse_policy(snapshot.observed.policy),
        )

    def check_known_accuracy(self, snapshot: Snapshot, version: int) -> Check:
        """Whether the version is known to be worse than the champion than a release may be."""
        champion = snapshot.desired.champion
        if champion is None or champion not in snapshot.observed.stages:
            return Check("known accuracy", True, "there is no champion")
        return check_known_accuracy(
            self._evidence(snapshot.name, version),
            self._evidence(snapshot.name, champion),
            parse_policy(snapshot.observed.policy),
        )

    def is_approved(self, snapshot: Snapshot, version: int, actor: str) -> bool:
        """Whether the policy wants no approval, or someone other than ``actor`` gave it."""
        if parse_policy(snapshot.observed.policy).approvals == 0:
            return True
        events = self.ledger.events(snapshot.name)
        return is_approved(events, version, snapshot.observed.digests[version], actor)


@dataclass(frozen=True, slots=True)
class Change(Snapshot):
    """A model's state when a change began, and the way to commit it."""

    _writer: ChangeWriter
    version: int | None

    @property
    def policy(self) -> Policy:
        """The model's policy.

        Raises:
            InvalidValue: The tag holds none.
        """
        return parse_policy(self.observed.policy)

    def check_files(self) -> None:
        """Refuses a version without files.

        Raises:
            IllegalTransition: It has none.
        """
        assert self.version is not None
        if not self.observed.digests[self.version]:
            raise IllegalTransition(
                f"version {self.version} has no stored files: upload them first"
            )

    def check_promotion(self, actor: str) -> Mapping[str, Any]:
        """The passed gate's report as plain values.

        Raises:
            GateFailed: The evidence does not satisfy the model's policy.
            ApprovalRequired: The policy wants a second person to approve first.
        """
        assert self.version is not None
        report = self._writer.evaluate_gate(self, self.version)
        if not report.passed:
            raise GateFailed(f"version {self.version} does not pass the gate: {report.reasons}")
        if not self._writer.is_approved(self, self.version, actor):
            raise ApprovalRequired(
                f"version {self.version} needs the approval of someone other than {actor} first"
            )
        return asdict(report)

    def check_release(self, actor: str) -> Mapping[str, Any]:
        """The passed gate's report of a release: as of a promotion, with what is known of accuracy.

        Raises:
            GateFailed: See ``check_promotion``; or it is known to be worse than the champion by
                more than ``release.max_accuracy_drop``.
            ApprovalRequired: See ``check_promotion``.
        """
        assert self.version is not None
        report = self.check_promotion(actor)
        known = self._writer.check_known_accuracy(self, self.version)
        if not known.passed:
            raise GateFailed(
                f"version {self.version} is known to be worse: {known.reason}; "
                f"set release.max_accuracy_drop, or promote it by hand"
            )
        return {**report, "checks": [*report["checks"], asdict(known)]}

    def commit(
        self,
        after: DesiredState,
        *,
        action: str,
        actor: str,
        reason: str,
        version: int | None = None,
        gate: Mapping[str, Any] | None = None,
    ) -> Event:
        """Makes ``after`` the desired state and MLflow follow it; the rest goes into the ledger.

        ``version`` is the one that the change is about, where it began without one.

        Raises:
            Conflict: Someone else changed the model's aliases or stages since it began.
        """
        name, writer = self.name, self._writer
        entry = self.entry(
            after,
            action=action,
            actor=actor,
            reason=reason,
            version=self.version if version is None else version,
            gate=gate,
        )
        seq = self.desired.seq

        def write() -> Event:
            nonlocal seq
            try:
                return writer.reconciler.commit(name, entry, after=seq)
            except EntryTaken:
                events = writer.ledger.events(name)
                _check_untouched(name, events[seq:])
                seq = len(events)
                raise

        return retried(write)


def _check_untouched(name: str, since: Sequence[Event]) -> None:
    """Refuses when one of the entries spoils the decision; an evaluation, for example, does not."""
    for event in since:
        if changes_aliases(event) or event.action in ("delete_model", "delete_version"):
            raise Conflict(
                f"model {name!r} was changed meanwhile: {event.action} of version "
                f"{event.version} by {event.actor} (audit entry {event.seq})"
            )
