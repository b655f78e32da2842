"""Makes MLflow follow the audit ledger, and the ledger follow a person in the MLflow UI.

A change is first an entry in the ledger (one winner), then written to aliases and tags.
Whoever looks next completes what a crash interrupted. What differs although everything
was written is a move made outside: it is judged like any other and recorded, or undone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from registry.backend.audit_ledger import Entry, Ledger
from registry.backend.connection import Connection
from registry.backend.store import ROLLED_BACK_TAG, STAGE_TAG
from registry.errors import Conflict, ModelNotFound
from registry.lifecycle.decision_summary import told_release, with_summary
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

APPLIED_TAG = "registry.applied"
RELEASE_TAG = "release"
_ROLLBACKS = ("rollback", "release_rollback")
_ATTEMPTS = 10


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


Answer = Callable[[str, DesiredState, ObservedState], Entry | None]
"""What the ledger shall say to a move made outside; None when there is nothing to say."""


class Reconciler:
    """Keeps ledger and MLflow in step. Threads may share it.

    Args:
        mlflow: The store.
        ledger: What shall be.
        answer: What the ledger says to moves made outside.
        on_move: Called when aliases and weights are written and the rest is still to come.
    """

    def __init__(
        self, mlflow: Connection, ledger: Ledger, answer: Answer, on_move: Callable[[], None]
    ) -> None:
        self._mlflow = mlflow
        self._ledger = ledger
        self._answer = answer
        self._on_move = on_move

    def settle(self, name: str) -> tuple[DesiredState, ObservedState]:
        """The model's state, after completing or recording what was found undone.

        Raises:
            ModelNotFound: No such model.
            Conflict: Others change it without a pause.
        """
        state, seen = self._look(name)
        due = self._due(name, state, seen)
        if due is None:
            return state, seen
        with self._mlflow.exclusive():
            for attempt in range(_ATTEMPTS):
                # Whoever held the lock meanwhile may have done it; a server has none.
                if attempt or self._mlflow.has_lock:
                    state, seen = self._look(name)
                    due = self._due(name, state, seen)
                if due is None:
                    return state, seen
                if isinstance(due, Event):
                    self.apply(name, due)
                else:
                    self._append(name, due, state.seq)
        raise Conflict(f"model {name!r} is changed by others without a pause")

    def commit(self, name: str, entry: Entry, *, after: int) -> Event:
        """Writes an entry and makes MLflow follow; one of several writers at once succeeds.

        Raises:
            Conflict: Another entry came first.
        """
        with self._mlflow.exclusive():
            event = self._ledger.append(name, entry, after=after)
            self.apply(name, event)
        return event

    def apply(self, name: str, event: Event) -> None:
        """Writes an entry's places to MLflow; only what differs, so again does no harm."""
        client = self._mlflow.client()
        with self._mlflow.translated(f"model {name!r}"):
            model = client.get_registered_model(name)
            if self._is_past(name, event, model):
                return
            _apply_places(client, model, event)
        self._on_move()
        stages: Mapping[str, str] = event.after["stages"]
        about = {} if event.version is None else {str(event.version): None}
        for version, stage in {**about, **stages}.items():
            self._apply_version(client, name, version, stage, event)
        with self._mlflow.translated(f"model {name!r}"):
            client.set_registered_model_tag(name, APPLIED_TAG, str(event.seq))

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
            pass  # Deleted since: it holds no place that could be wrong.

    def _is_past(self, name: str, event: Event, model: Any) -> bool:
        """Whether later entries were written while this writer was held up; the ledger knows.

        It is asked only when MLflow shows what neither this entry nor the one before says.
        """
        found = int(model.aliases.get(CHAMPION, 0))
        known = (event.before["aliases"].get(CHAMPION), event.after["aliases"].get(CHAMPION), 0)
        if found in known and _number(model.tags.get(APPLIED_TAG)) <= event.seq:
            return False
        latest = fold(self._ledger.events(name)).changed
        return latest is not None and latest.seq > event.seq

    def _append(self, name: str, entry: Entry, after: int) -> None:
        try:
            event = self._ledger.append(name, entry, after=after)
        except Conflict:
            return  # Someone else was faster: look again.
        self.apply(name, event)

    def _due(self, name: str, state: DesiredState, seen: ObservedState) -> Event | Entry | None:
        """An entry that is not yet written to MLflow, else what the ledger shall say."""
        event = state.changed
        if event is not None and seen.applied < event.seq:
            return event
        return self._answer(name, state, seen)

    def _look(self, name: str) -> tuple[DesiredState, ObservedState]:
        client = self._mlflow.client()
        # The ledger first: what happens between the two reads then fails at its number.
        state = fold(self._ledger.events(name))
        with self._mlflow.translated(f"model {name!r}"):
            model = client.get_registered_model(name)
            versions: list[Any] = []
            token = None
            while True:
                page = client.search_model_versions(f"name='{name}'", 1000, page_token=token)
                versions.extend(page)
                if not (token := page.token):
                    break
        tags = model.tags
        return state, ObservedState(
            aliases={a: int(v) for a, v in model.aliases.items() if a in GOVERNED},
            weights={s: w for s in SLOTS if (w := _weight(tags.get(weight_tag(s)))) is not None},
            stages={int(v.version): v.tags.get(STAGE_TAG, "") for v in versions},
            digests={int(v.version): v.tags.get("digest", "") for v in versions},
            applied=_number(tags.get(APPLIED_TAG)),
            policy=tags.get("policy", ""),
        )


def _apply_places(client: Any, model: Any, event: Event) -> None:
    """Aliases, weights and what is said of a release, as far as MLflow shows others."""
    name = model.name
    aliases: Mapping[str, Any] = event.after["aliases"]
    weights: Mapping[str, Any] = event.after["weights"]
    for alias in GOVERNED:
        wanted, found = aliases.get(alias), model.aliases.get(alias)
        if wanted is None and found is not None:
            client.delete_registered_model_alias(name, alias)
        elif wanted is not None and (found is None or int(found) != int(wanted)):
            client.set_registered_model_alias(name, alias, str(wanted))
    for slot in SLOTS:
        wanted, key = weights.get(slot), weight_tag(slot)
        if wanted is None and key in model.tags:
            client.delete_registered_model_tag(name, key)
        elif wanted is not None and model.tags.get(key) != f"{wanted:g}":
            client.set_registered_model_tag(name, key, f"{wanted:g}")
    told = told_release(event)
    if told is None and RELEASE_TAG in model.tags:
        client.delete_registered_model_tag(name, RELEASE_TAG)
    elif told is not None and model.tags.get(RELEASE_TAG) != told:
        client.set_registered_model_tag(name, RELEASE_TAG, told)


def weight_tag(slot: str) -> str:
    """The registered model's tag that holds a slot's share of traffic."""
    return f"serve.{slot}_weight"


def _weight(text: str | None) -> float | None:
    """A weight that a person may have typed; None when it is none."""
    try:
        weight = float(text or "")
    except ValueError:
        return None
    return weight if 0 < weight <= 1 else None


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
