"""The audit ledger: every change of a model, in order, in MLflow.

MLflow keeps no history of aliases and tags, but a run's parameter can be written only
once. So entry 17 of a model is the parameter ``000017`` of its ledger run: of several
writers at once one gets the number, and nothing written can be changed. Each entry
holds the sha256 of the one before, so a ledger that was replaced does not verify. Runs
hold ``SEGMENT`` entries; an index run names them, in parameters as well.
"""

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from registry.backend.connection import Connection
from registry.backend.retries import retried
from registry.backend.tags import INDEX_RUN_TAG, MODEL_TAG, SEGMENT_TAG
from registry.errors import EntryTaken, IntegrityError, InvalidValue, LedgerDamaged
from registry.records import Event

EXPERIMENT = "registry-audit"
SEGMENT = 200
MAX_REASON_CHARS = 500
MAX_ACTOR_CHARS = 255
# MLflow's own limit of a parameter is 6000.
_MAX_ENTRY_CHARS = 5_900


@dataclass(frozen=True, slots=True)
class Entry:
    """The writer's part of an ``Event``; the ledger adds the rest."""

    action: str
    actor: str
    reason: str
    version: int | None = None
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""


class Ledger:
    """The ledgers of all models in one store. Threads may share it."""

    def __init__(self, mlflow: Connection) -> None:
        self._mlflow = mlflow
        self._lock = threading.Lock()
        self._experiment: tuple[str, str] | None = None
        # Written once in MLflow, so remembered for good here.
        self._runs: dict[str, str] = {}
        self._full: dict[str, tuple[str, ...]] = {}

    def events(self, name: str) -> tuple[Event, ...]:
        """All entries of a model, oldest first; empty when it has none.

        Raises:
            IntegrityError: The chain is broken, or entries are missing.
            BackendUnavailable: The store cannot be reached or read.
        """
        entries = self._entries(name)
        events = []
        previous = ""
        for position, text in enumerate(entries, start=1):
            event = _parse(text)
            if event is None or event.seq != position or event.previous != previous:
                raise IntegrityError(
                    f"the audit ledger of model {name!r} is broken at entry {position}: "
                    f"it does not follow from the entry before"
                )
            events.append(event)
            previous = _sha256(text)
        return tuple(events)

    def append(self, name: str, entry: Entry, *, after: int) -> Event:
        """Writes entry ``after + 1``; exactly one of several writers at once succeeds.

        Raises:
            EntryTaken: That number is taken.
            InvalidValue: The actor is missing, or a text is too long.
            BackendUnavailable: The store cannot be written, or the ledger was deleted.
        """
        _check(entry)
        entries = self._entries(name)
        taken = f"model {name!r} is being changed by others: try again"
        if len(entries) != after:
            raise EntryTaken(taken)
        previous = _sha256(entries[-1]) if entries else ""
        event = Event(
            model=name,
            seq=after + 1,
            at_s=round(time.time(), 3),
            previous=previous,
            nonce=uuid.uuid4().hex[:12],
            **{key: getattr(entry, key) for key in Entry.__slots__},
        )
        text = json.dumps(asdict(event), ensure_ascii=False, sort_keys=True, allow_nan=False)
        if len(text) > _MAX_ENTRY_CHARS:
            raise InvalidValue(
                f"the audit entry takes {len(text)} of {_MAX_ENTRY_CHARS} characters"
            )
        with self._mlflow.translated(f"audit ledger of model {name!r}"):
            run_id = self._run(name, after // SEGMENT, make=True)
            assert run_id is not None
            if self._mlflow.write_once(run_id, _key(event.seq), text) != text:
                raise EntryTaken(taken)
        return event

    def record(self, name: str, entry: Entry) -> Event:
        """Writes an entry whose place in the order does not matter.

        Raises:
            EntryTaken: Others wrote faster twenty times in a row.
            BackendUnavailable: The store cannot be written, or the ledger was deleted.
        """
        return retried(lambda: self.append(name, entry, after=len(self._entries(name))))

    def _entries(self, name: str) -> tuple[str, ...]:
        """The stored texts; full segments are cached, the last one is read from MLflow."""
        found = self._full.get(name, ())
        with self._mlflow.translated(f"audit ledger of model {name!r}"):
            while True:
                run_id = self._run(name, len(found) // SEGMENT, make=False)
                if run_id is None:
                    return found
                run = self._mlflow.client().get_run(run_id)
                if run.info.lifecycle_stage != "active":
                    raise LedgerDamaged(
                        f"run {run_id}, part of the audit ledger of model {name!r}, was deleted: "
                        f"restore it in the MLflow UI, or by `mlflow runs restore --run-id "
                        f"{run_id}` (its experiment first, if that was deleted); until then no "
                        f"model is changed"
                    )
                more = _in_order(run.data.params, len(found))
                found = (*found, *more)
                if len(more) < SEGMENT:
                    return found
                self._full[name] = found

    def _run(self, name: str, segment: int, *, make: bool) -> str | None:
        key = f"{hashlib.sha256(name.encode()).hexdigest()[:40]}.{segment:04d}"
        if (known := self._runs.get(key)) is not None:
            return known
        client = self._mlflow.client()
        experiment_id, index = self._index()
        run_id: str | None = client.get_run(index).data.params.get(key)
        if run_id is None:
            if not make:
                return None
            tags = {MODEL_TAG: name, SEGMENT_TAG: str(segment)}
            made = client.create_run(experiment_id, run_name=f"{name} {segment}", tags=tags)
            client.set_terminated(made.info.run_id)
            run_id = self._mlflow.write_once(index, key, str(made.info.run_id))
            if run_id != made.info.run_id:
                client.delete_run(made.info.run_id)
        self._runs[key] = run_id
        return run_id

    def _index(self) -> tuple[str, str]:
        """The ids of the experiment and of its index run, a tag that is created with it."""
        with self._lock:
            if self._experiment is None:
                client = self._mlflow.client()
                if client.get_experiment_by_name(EXPERIMENT) is None:
                    home = self._mlflow.experiment_id()
                    run = client.create_run(home, run_name="audit index")
                    client.set_terminated(run.info.run_id)
                    self._mlflow.make_experiment(EXPERIMENT, {INDEX_RUN_TAG: run.info.run_id})
                found = client.get_experiment_by_name(EXPERIMENT)
                self._experiment = (str(found.experiment_id), str(found.tags[INDEX_RUN_TAG]))
            return self._experiment


def champion_at(events: tuple[Event, ...], at_s: float) -> Event | None:
    """The entry that made the champion of that time; None when there was none."""
    holder: Event | None = None
    champion: object = None
    for event in events:
        if event.at_s > at_s:
            break
        aliases = event.after.get("aliases")
        if isinstance(aliases, Mapping) and aliases.get("champion") != champion:
            champion = aliases.get("champion")
            holder = event if champion is not None else None
    return holder


def _check(entry: Entry) -> None:
    if not 1 <= len(entry.actor.strip()) <= MAX_ACTOR_CHARS:
        raise InvalidValue(f"an actor of 1 to {MAX_ACTOR_CHARS} characters is required")
    if len(entry.reason) > MAX_REASON_CHARS:
        raise InvalidValue(f"the reason has {len(entry.reason)} of {MAX_REASON_CHARS} characters")


def _key(seq: int) -> str:
    return f"{seq:06d}"


def _in_order(params: Mapping[str, str], before: int) -> list[str]:
    """A segment's entries up to the first gap; a gap with entries behind it is an error."""
    texts: list[str] = []
    while (text := params.get(_key(before + len(texts) + 1))) is not None:
        texts.append(text)
    if len(texts) != len(params):
        raise IntegrityError(f"the audit ledger misses entry {before + len(texts) + 1}")
    return texts


def _parse(text: str) -> Event | None:
    try:
        return Event(**json.loads(text))
    except (TypeError, ValueError):
        return None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
