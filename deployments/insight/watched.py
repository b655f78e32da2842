"""What is known of one version's traffic, and how a block of texts changes it. Pure.

    first texts ─▶ reference ─▶ blocks ─▶ evidence ─▶ levels that hold ─▶ events

Every function returns a new record; ``store.py`` reads, changes and writes it in one transaction,
so nothing is kept in memory and nothing is locked while it is computed.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from configs.schema.drift import DriftConfig
from deployments.inference.signals import Histograms, add, empty, signals_of
from deployments.insight.drift import LEVELS, Drift, FalseAlarms, Level
from deployments.insight.reference import Reference, Tolerances

ReferenceKind = Literal["learning", "first_answers", "accepted"]
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class HeldLevel:
    """A level that a signal has reached.

    Attributes:
        level: ``changed`` or ``drifted``.
        since_s: When, in Unix time.
        inside_s: Since when the mean of a day has been within the limits again; None if it is not.
    """

    level: Level
    since_s: float
    inside_s: float | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a person may ask about later.

    Attributes:
        at_s: Unix time.
        kind: ``level``, ``ended``, ``reference`` or ``reset``.
        digest: The version.
        signal: Which signal; empty for all.
        level: The level that was reached or has ended.
        actor: Who did it; empty for the server.
        reason: In that person's words.
    """

    at_s: float
    kind: str
    digest: str
    signal: str = ""
    level: str = ""
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Watched:
    """One version.

    Attributes:
        digest: Of the bundle.
        name: Registered model name.
        version: Its number there.
        labels: Its labels.
        reference: Counts that traffic is compared with; while ``learning``, those so far.
        reference_kind: Where they come from.
        reference_id: Changes with the reference.
        reference_s: When it was complete; 0 while learning.
        log_sums: State of ``Drift``; empty before the first block.
        levels: By signal, those that are not ``none``.
        blocks: How many were compared.
        block_s: When the last block was closed; 0 before the first.
    """

    digest: str
    name: str
    version: int
    labels: tuple[str, ...]
    reference: Histograms
    reference_kind: ReferenceKind = "learning"
    reference_id: str = ""
    reference_s: float = 0.0
    log_sums: bytes = b""
    levels: dict[str, HeldLevel] = field(default_factory=dict)
    blocks: int = 0
    block_s: float = 0.0

    @property
    def learning(self) -> bool:
        """Whether there is no reference yet."""
        return self.reference_kind == "learning"

    def level_of(self, signal: str) -> Level:
        """The level that holds."""
        held = self.levels.get(signal)
        return "none" if held is None else held.level


def new_watched(digest: str, name: str, version: int, labels: Sequence[str]) -> Watched:
    """A version of which nothing was counted."""
    return Watched(digest, name, version, tuple(labels), empty(labels))


def drift_of(watched: Watched, config: DriftConfig) -> Drift:
    """Its evidence; with changed settings it begins anew where the tests are other ones."""
    tolerances = Tolerances(config.tolerance, config.label_tolerance)
    rate = FalseAlarms(config.alpha, config.horizon_days, config.report_interval_s)
    reference = Reference(watched.labels, watched.reference, tolerances)
    return Drift(reference, rate, watched.log_sums or None)


def absorb(
    watched: Watched, block: Histograms, now_s: float, config: DriftConfig
) -> tuple[Watched, list[Event]]:
    """Takes a closed block: learns from it, or compares it."""
    watched = replace(watched, block_s=now_s)
    if watched.learning:
        learned = {name: list(row) for name, row in watched.reference.items()}
        add(learned, block)
        watched = replace(watched, reference=learned)
        if sum(learned["label"]) < config.baseline_texts:
            return watched, []
        watched = replace(
            watched,
            reference_kind="first_answers",
            reference_id=uuid.uuid4().hex,
            reference_s=now_s,
        )
        return watched, [Event(now_s, "reference", watched.digest, level="first_answers")]
    drift = drift_of(watched, config)
    drift.add(block)
    levels, events = dict(watched.levels), []
    for signal, reached in drift.levels().items():
        if LEVELS.index(reached) > LEVELS.index(watched.level_of(signal)):
            levels[signal] = HeldLevel(reached, now_s)
            events.append(Event(now_s, "level", watched.digest, signal, reached))
    log_sums = drift.log_sums.tobytes()
    blocks = watched.blocks + 1
    return replace(watched, log_sums=log_sums, levels=levels, blocks=blocks), events


def release(
    watched: Watched, day: Histograms, now_s: float, config: DriftConfig
) -> tuple[Watched, list[Event]]:
    """Ends levels whose signal's mean of a day has been within the limits for a day.

    Args:
        watched: The version.
        day: Counts of the last 24 hours.
        now_s: Unix time.
        config: Tolerances.
    """
    levels, events = dict(watched.levels), []
    drift = drift_of(watched, config)
    for signal, held in watched.levels.items():
        inside = True
        for measure in drift.reference.measures:
            if measure.signal.name == signal and (mean := measure.mean_of(day)) is not None:
                low, high = measure.limits(tolerant=held.level == "drifted")
                inside = inside and low <= mean <= high
        if not inside:
            levels[signal] = replace(held, inside_s=None)
        elif held.inside_s is None:
            levels[signal] = replace(held, inside_s=now_s)
        elif now_s - held.inside_s >= DAY_S:
            del levels[signal]
            drift.forget(signal)
            events.append(Event(now_s, "ended", watched.digest, signal, held.level))
    return replace(watched, levels=levels, log_sums=drift.log_sums.tobytes()), events


def accept(watched: Watched, counts: Histograms, now_s: float) -> Watched:
    """Takes other traffic as the reference; evidence and levels begin anew."""
    return replace(
        watched,
        reference=counts,
        reference_kind="accepted",
        reference_id=uuid.uuid4().hex,
        reference_s=now_s,
        log_sums=b"",
        levels={},
    )


def reset(watched: Watched, *, learn: bool) -> Watched:
    """Begins evidence and levels anew; with ``learn`` the reference as well."""
    watched = replace(watched, log_sums=b"", levels={})
    if not learn:
        return watched
    return replace(
        new_watched(watched.digest, watched.name, watched.version, watched.labels),
        block_s=watched.block_s,
    )


def signal_names(watched: Watched) -> list[str]:
    """All signals of the version."""
    return [signal.name for signal in signals_of(watched.labels)]
