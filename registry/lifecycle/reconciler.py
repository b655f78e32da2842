"""Reconciles MLflow with the audit ledger: the ledger is desired, MLflow shows what is observed.

A change is first an entry in the ledger (one winner), then written to aliases and tags. The
next reader of the model completes what a crash interrupted. A difference that remains was
made outside the registry, in the MLflow UI; ``external_changes.py`` accepts or undoes it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from registry.backend.audit_ledger import Entry, Ledger
from registry.backend.connection import Connection
from registry.backend.retries import retried
from registry.backend.tags import (
    APPLIED_TAG,
    DELETED_TAG,
    DIGEST_TAG,
    POLICY_TAG,
    RELEASE_TAG,
    ROLLED_BACK_TAG,
    STAGE_TAG,
    weight_tag,
)
from registry.errors import EntryTaken, ModelNotFound
from registry.lifecycle.decision_summary import release_summary, with_summary
from registry.lifecycle.state import (
    ARCHIVED,
    CHAMPION,
    GOVERNED,
    PRODUCTION,
    SLOTS,
    STAGING,
    DesiredState,
    fold,
)
from registry.records import Event

_ROLLBACKS = ("rollback", "release_rollback")
_MAX_ENTRIES = 10


@dataclass(frozen=True, slots=True)
class ObservedState:
    """A model as MLflow shows it now.

    Attributes:
        aliases: Governed alias to version.
        weights: Slot to weight, from the model's tags.
        stages: Version to the stage in its tag (empty without); all versions that exist.
        digests: Version to the digest in its tag.
        applied: Ledger entry that was last written here completely.
        policy: The tag of that name.
    """

    aliases: Mapping[str, int]
    weights: Mapping[str, float]
    stages: Mapping[int, str]
    digests: Mapping[int, str]
    applied: int
    policy: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A model's desired state, by its ledger, and what MLflow showed right after."""

    name: str
    desired: DesiredState
    observed: ObservedState

    def entry(
        self,
        after: DesiredState,
        *,
        action: str,
        actor: str,
        reason: str,
        version: int | None,
        gate: Mapping[str, Any] | None = None,
        also: Iterable[int] = (),
    ) -> Entry:
        """The ledger entry that turns the desired state into ``after``; see ``Entry``.

        It also writes the stages of the versions in ``also``, although they do not change.
        """
        before = self.desired
        changed = {v for v, stage in after.stages.items() if stage != before.stages.get(v)}
        stages = sorted(changed | set(also))
        return Entry(
            action,
            actor,
            reason,
            version,
            before={**before.alias_fields(), "stages": {str(v): before.stage(v) for v in stages}},
            after={**after.alias_fields(), "stages": {str(v): after.stage(v) for v in stages}},
            gate=gate or {},
            digest=self.observed.digests.get(version, "") if version is not None else "",
        )


class Reconciler:
    """Keeps ledger and MLflow equal. Threads may share it.

    Args:
        mlflow: The store.
        ledger: The desired state.
        resolve: The entry that accepts or undoes what was changed outside; None without changes.
        on_move: Called when aliases and weights are written and the rest is still to come.
    """

    def __init__(
        self,
        mlflow: Connection,
        ledger: Ledger,
        resolve: Callable[[Snapshot], Entry | None],
        on_move: Callable[[], None],
    ) -> None:
        self._mlflow = mlflow
        self._ledger = ledger
        self._resolve = resolve
        self._on_move = on_move

    def reconcile(self, name: str) -> Snapshot:
        """The model's state, after interrupted and external changes were completed or undone.

        Raises:
            ModelNotFound: No such model.
            Conflict: Other writers change it all the time.
        """
        snapshot = self._observe(name)
        if self._due(snapshot) is None:
            return snapshot
        with self._mlflow.exclusive():
            return retried(lambda: self._reconciled(name))

    def commit(self, name: str, entry: Entry, *, after: int) -> Event:
        """Writes an entry and makes MLflow follow; one of several writers at once succeeds.

        Raises:
            EntryTaken: Another entry came first.
        """
        with self._mlflow.exclusive():
            event = self._ledger.append(name, entry, after=after)
            self.apply(name, event)
        return event

    def apply(self, name: str, event: Event) -> None:
        """Writes an entry's aliases and stages to MLflow where they differ; may be repeated."""
        client = self._mlflow.client()
        with self._mlflow.translated(f"model {name!r}"):
            model = client.get_registered_model(name)
            if self._is_past(name, event, model):
                return
            _apply_aliases(client, model, event)
        self._on_move()
        stages: Mapping[str, str] = event.after["stages"]
        subject = {} if event.version is None else {str(event.version): None}
        for version, stage in {**subject, **stages}.items():
            self._apply_version(client, name, version, stage, event)
        with self._mlflow.translated(f"model {name!r}"):
            client.set_registered_model_tag(name, APPLIED_TAG, str(event.seq))

    def _reconciled(self, name: str) -> Snapshot:
        for _ in range(_MAX_ENTRIES):
            snapshot = self._observe(name)
            due = self._due(snapshot)
            if due is None:
                return snapshot
            if isinstance(due, Entry):
                due = self._ledger.append(name, due, after=snapshot.desired.seq)
            self.apply(name, due)
        raise EntryTaken(f"model {name!r} is being changed by others: try again")

    def _apply_version(
        self, client: Any, name: str, version: str, stage: str | None, event: Event
    ) -> None:
        try:
            with self._mlflow.translated(f"version {version} of model {name!r}"):
                found = client.get_model_version(name, version)
                if stage is not None and found.tags.get(STAGE_TAG) != stage:
                    client.set_model_version_tag(name, version, STAGE_TAG, stage)
                rolled_back = event.action in _ROLLBACKS and stage == ARCHIVED
                if rolled_back:
                    client.set_model_version_tag(name, version, ROLLED_BACK_TAG, event.reason)
                elif stage in (STAGING, PRODUCTION) and ROLLED_BACK_TAG in found.tags:
                    client.delete_model_version_tag(name, version, ROLLED_BACK_TAG)
                if rolled_back or int(version) == event.version:
                    text = with_summary(found.description or "", event)
                    client.update_model_version(name, version, text)
        except ModelNotFound:
            pass  # Deleted since: it has no alias that could be wrong.

    def _is_past(self, name: str, event: Event, model: Any) -> bool:
        """Whether later entries were applied while this writer was delayed; the ledger decides.

        It is read only when MLflow's champion is neither this entry's nor the one before.
        """
        found = int(model.aliases.get(CHAMPION, 0))
        known = (event.before["aliases"].get(CHAMPION), event.after["aliases"].get(CHAMPION), 0)
        if found in known and _number(model.tags.get(APPLIED_TAG)) <= event.seq:
            return False
        latest = fold(self._ledger.events(name)).last_change
        return latest is not None and latest.seq > event.seq

    def _due(self, snapshot: Snapshot) -> Event | Entry | None:
        """An entry that is not yet written to MLflow, else the answer to an external change."""
        event = snapshot.desired.last_change
        if event is not None and snapshot.observed.applied < event.seq:
            return event
        return self._resolve(snapshot)

    def _observe(self, name: str) -> Snapshot:
        client = self._mlflow.client()
        # The ledger first: a change between the two reads then fails at its entry's number.
        desired = fold(self._ledger.events(name))
        with self._mlflow.translated(f"model {name!r}"):
            model = client.get_registered_model(name)
        if DELETED_TAG in model.tags:
            raise ModelNotFound(f"no model {name!r} in the registry")
        found = self._mlflow.pages(
            f"model {name!r}", client.search_model_versions, f"name='{name}'", max_results=1000
        )
        versions = [version for version in found if DELETED_TAG not in version.tags]
        tags = model.tags
        observed = ObservedState(
            aliases={a: int(v) for a, v in model.aliases.items() if a in GOVERNED},
            weights={s: w for s in SLOTS if (w := parse_weight(tags.get(weight_tag(s))))},
            stages={int(v.version): v.tags.get(STAGE_TAG, "") for v in versions},
            digests={int(v.version): v.tags.get(DIGEST_TAG, "") for v in versions},
            applied=_number(tags.get(APPLIED_TAG)),
            policy=tags.get(POLICY_TAG, ""),
        )
        return Snapshot(name, desired, observed)


def _apply_aliases(client: Any, model: Any, event: Event) -> None:
    """Writes aliases, weights and the release's summary where MLflow shows others."""
    name = model.name
    for alias in GOVERNED:
        desired, observed = event.after["aliases"].get(alias), model.aliases.get(alias)
        if desired is None and observed is not None:
            client.delete_registered_model_alias(name, alias)
        elif desired is not None and (observed is None or int(observed) != int(desired)):
            client.set_registered_model_alias(name, alias, str(desired))
    weights: Mapping[str, Any] = event.after["weights"]
    tags = {weight_tag(slot): f"{weights[slot]:g}" if slot in weights else None for slot in SLOTS}
    for key, value in {**tags, RELEASE_TAG: release_summary(event)}.items():
        if value is None and key in model.tags:
            client.delete_registered_model_tag(name, key)
        elif value is not None and model.tags.get(key) != value:
            client.set_registered_model_tag(name, key, value)


def parse_weight(text: str | None) -> float:
    """A weight tag, which a person may have typed; 0 when it is no share in (0, 1]."""
    try:
        weight = float(text or "")
    except ValueError:
        return 0.0
    return weight if 0 < weight <= 1 else 0.0


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
