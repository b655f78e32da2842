"""The desired state of a model by its audit ledger: aliases, stages, weights and release.

Pure: entries in, state out. ``transitions.py`` decides the next entry; ``reconciler.py``
makes MLflow's aliases and tags follow it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from registry.errors import IllegalTransition
from registry.records import Event, Release

DRAFT, STAGING, PRODUCTION, ARCHIVED = "draft", "staging", "production", "archived"
STAGES = (DRAFT, STAGING, PRODUCTION, ARCHIVED)
CHAMPION, CHALLENGER, SHADOW, PREVIOUS = "champion", "challenger", "shadow", "previous"
SLOTS = (CHALLENGER, SHADOW)
# Champion last: a reader that sees it moved finds the other aliases written.
GOVERNED = (PREVIOUS, CHALLENGER, SHADOW, CHAMPION)

TRANSITIONS: Mapping[str, tuple[str, ...]] = {
    DRAFT: (STAGING, ARCHIVED),
    STAGING: (PRODUCTION, DRAFT, ARCHIVED),
    PRODUCTION: (ARCHIVED,),
    ARCHIVED: (STAGING,),
}

# What an entry says of a release; its number and times are the entries' own.
_RELEASE_KEYS = ("version", "champion", "actor", "steps", "step", "held")
_STORES = ("create_version", "upload_artifact", "restore_version")


@dataclass(frozen=True, slots=True)
class DesiredState:
    """One model after all entries of its ledger.

    Attributes:
        seq: Entries so far; 0 without any.
        last_change: The last entry that changed aliases or stages; None when none did.
        aliases: Governed alias to version.
        stages: Version to stage; versions that are not named are drafts.
        weights: Slot to its share of traffic, in (0, 1].
        digests: Version to the digest that was recorded when its files were stored.
        champions: Champions in order; the last is the present one, the one before is where a
            rollback goes.
        release: The automatic release that is under way.
        deleted: The state when the model was deleted last, for its restoration.
    """

    seq: int = 0
    last_change: Event | None = None
    aliases: Mapping[str, int] = field(default_factory=dict)
    stages: Mapping[int, str] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    digests: Mapping[int, str] = field(default_factory=dict)
    champions: tuple[int, ...] = ()
    release: Release | None = None
    deleted: "DesiredState | None" = None

    @property
    def champion(self) -> int | None:
        """The version in production."""
        return self.aliases.get(CHAMPION)

    def stage(self, version: int) -> str:
        """A version's stage."""
        return self.stages.get(version, DRAFT)

    def alias_fields(self) -> dict[str, Any]:
        """An entry's fields for aliases, weights and the release."""
        release = None
        if self.release is not None:
            release = {key: getattr(self.release, key) for key in _RELEASE_KEYS}
        return {"aliases": dict(self.aliases), "weights": dict(self.weights), "release": release}


def fold(events: Sequence[Event]) -> DesiredState:
    """The state after all ``events``, oldest first."""
    state = DesiredState()
    for event in events:
        state = _after(state, event)
    return state


def changes_aliases(event: Event) -> bool:
    """Whether an entry changes aliases, stages, weights or the release."""
    return "aliases" in event.after


def is_approved(events: Sequence[Event], version: int, digest: str, promoter: str) -> bool:
    """Whether someone other than ``promoter`` approved these files of the version.

    A later rejection, return to draft or archiving takes the approval back.
    """
    approved = False
    for event in events:
        if event.action == "delete_model":
            approved = False
        elif event.version == version and event.action == "approve":
            approved = approved or (event.actor != promoter and event.digest == digest)
        elif event.version == version and (
            event.action == "reject" or event.after.get("stages", {}).get(str(version)) is not None
        ):
            approved = False
    return approved


def check_legal(version: int, stage: str, to: str) -> None:
    """Checks a step of the lifecycle.

    Raises:
        IllegalTransition: There is no such step; the legal ones are named.
    """
    if to not in TRANSITIONS[stage]:
        raise IllegalTransition(
            f"version {version} is in {stage} and cannot go to {to}; "
            f"from {stage} it can go to {', '.join(TRANSITIONS[stage])}"
        )


def moved(state: DesiredState, version: int, to: str) -> DesiredState:
    """The state in which ``version`` is in stage ``to``."""
    aliases, stages = dict(state.aliases), {**state.stages, version: to}
    weights = dict(state.weights)
    for slot in SLOTS:
        if aliases.get(slot) == version and to != STAGING:
            del aliases[slot]
            weights.pop(slot, None)
    if to == PRODUCTION and state.champion != version:
        if state.champion is not None:
            stages[state.champion] = ARCHIVED
            aliases[PREVIOUS] = state.champion
        aliases[CHAMPION] = version
    if to != PRODUCTION and state.champion == version:
        del aliases[CHAMPION]
        aliases[PREVIOUS] = version
    release = state.release
    if release is not None and release.version == version and to != STAGING:
        release = None
    return replace(state, aliases=aliases, stages=stages, weights=weights, release=release)


def _after(state: DesiredState, event: Event) -> DesiredState:
    digests = dict(state.digests)
    stored = event.action in _STORES and event.digest
    if event.version is not None and stored:
        digests[event.version] = event.digest
    if event.version is not None and event.action in ("delete_artifact", "delete_version"):
        digests.pop(event.version, None)
    if event.action == "delete_model":
        return DesiredState(seq=event.seq, deleted=state)
    if event.action == "restore_model" and state.deleted is not None:
        return replace(state.deleted, seq=event.seq)
    if not changes_aliases(event):
        return replace(state, seq=event.seq, digests=digests)
    aliases = {str(alias): int(version) for alias, version in event.after["aliases"].items()}
    stages = {int(version): str(stage) for version, stage in event.after["stages"].items()}
    weights = {str(slot): float(weight) for slot, weight in event.after["weights"].items()}
    return DesiredState(
        seq=event.seq,
        last_change=event,
        aliases=aliases,
        stages={**state.stages, **stages},
        weights=weights,
        digests=digests,
        champions=_champions(state.champions, aliases.get(CHAMPION), event.action),
        release=_release(state.release, event),
        deleted=state.deleted,
    )


def _release(before: Release | None, event: Event) -> Release | None:
    # Entries of earlier versions of sentigraph have no release.
    fields = event.after.get("release")
    if fields is None:
        return None
    if event.action == "release_start" or before is None:
        number, since_s = event.seq, event.at_s
    else:
        number = before.id
        same_step = (fields["step"], fields["held"]) == (before.step, before.held)
        since_s = before.since_s if same_step else event.at_s
    return Release(
        id=number,
        version=int(fields["version"]),
        champion=int(fields["champion"]),
        actor=str(fields["actor"]),
        steps=tuple(float(weight) for weight in fields["steps"]),
        step=int(fields["step"]),
        held=str(fields["held"]),
        since_s=since_s,
    )


def _champions(before: tuple[int, ...], champion: int | None, action: str) -> tuple[int, ...]:
    if champion is None or before[-1:] == (champion,):
        return before
    if action == "rollback" and champion in before:
        return before[: len(before) - before[::-1].index(champion)]
    return (*before, champion)
