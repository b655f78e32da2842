"""What the audit ledger says about a model: which version holds which place.

Pure: entries in, state out. ``settle.py`` makes MLflow's aliases and tags follow it;
``lifecycle.py`` decides the next entry.
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
# Champion last: whoever sees it moved finds everything else in place.
GOVERNED = (PREVIOUS, CHALLENGER, SHADOW, CHAMPION)

LEGAL: Mapping[str, tuple[str, ...]] = {
    DRAFT: (STAGING, ARCHIVED),
    STAGING: (PRODUCTION, DRAFT, ARCHIVED),
    PRODUCTION: (ARCHIVED,),
    ARCHIVED: (STAGING,),
}


# What an entry says of a release; its number and times are the entries' own.
_RELEASE_KEYS = ("version", "champion", "actor", "steps", "step", "held")


@dataclass(frozen=True, slots=True)
class DesiredState:
    """One model after all entries of its ledger.

    Attributes:
        seq: Entries so far; 0 without any.
        changed: The last entry that changed places; None when none did.
        aliases: Governed alias to version.
        stages: Version to stage; versions that are not named are drafts.
        weights: Slot to its share of traffic, in (0, 1].
        digests: Version to the digest that was recorded when its files were stored.
        reigns: Champions in order; the last is the present one, the one before is where a
            rollback goes.
        release: The automatic release that is under way.
    """

    seq: int = 0
    changed: Event | None = None
    aliases: Mapping[str, int] = field(default_factory=dict)
    stages: Mapping[int, str] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    digests: Mapping[int, str] = field(default_factory=dict)
    reigns: tuple[int, ...] = ()
    release: Release | None = None

    @property
    def champion(self) -> int | None:
        """The version in production."""
        return self.aliases.get(CHAMPION)

    def stage(self, version: int) -> str:
        """A version's stage."""
        return self.stages.get(version, DRAFT)

    def places(self) -> dict[str, Any]:
        """The part of an entry that says which version holds which place."""
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


def is_placing(event: Event) -> bool:
    """Whether an entry changes places (aliases, stages, weights)."""
    return "aliases" in event.after


def approved(events: Sequence[Event], version: int, digest: str, promoter: str) -> bool:
    """Whether someone other than ``promoter`` approved these files of the version.

    A later rejection, return to draft or archiving takes the approval back.
    """
    standing = False
    for event in events:
        if event.action == "delete_model":
            standing = False
        elif event.version == version and event.action == "approve":
            standing = standing or (event.actor != promoter and event.digest == digest)
        elif event.version == version and (
            event.action == "reject" or event.after.get("stages", {}).get(str(version)) is not None
        ):
            standing = False
    return standing


def check_legal(version: int, stage: str, to: str) -> None:
    """Checks a step of the lifecycle.

    Raises:
        IllegalTransition: There is no such step; the legal ones are named.
    """
    if to not in LEGAL[stage]:
        raise IllegalTransition(
            f"version {version} is in {stage} and cannot go to {to}; "
            f"from {stage} it can go to {', '.join(LEGAL[stage])}"
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
    stored = event.action in ("create_version", "upload_artifact") and event.digest
    if event.version is not None and stored:
        digests[event.version] = event.digest
    if event.version is not None and event.action in ("delete_artifact", "delete_version"):
        digests.pop(event.version, None)
    if event.action == "delete_model":
        return DesiredState(seq=event.seq)
    if not is_placing(event):
        return replace(state, seq=event.seq, digests=digests)
    aliases = {str(alias): int(version) for alias, version in event.after["aliases"].items()}
    stages = {int(version): str(stage) for version, stage in event.after["stages"].items()}
    weights = {str(slot): float(weight) for slot, weight in event.after["weights"].items()}
    return DesiredState(
        seq=event.seq,
        changed=event,
        aliases=aliases,
        stages={**state.stages, **stages},
        weights=weights,
        digests=digests,
        reigns=_reigns(state.reigns, aliases.get(CHAMPION), event.action),
        release=_release(state.release, event),
    )


def _release(before: Release | None, event: Event) -> Release | None:
    # Entries of earlier versions of sentigraph say nothing of releases.
    told = event.after.get("release", None)
    if told is None:
        return None
    if event.action == "release_start" or before is None:
        number, since_s = event.seq, event.at_s
    else:
        number = before.id
        goes_on = (told["step"], told["held"]) == (before.step, before.held)
        since_s = before.since_s if goes_on else event.at_s
    return Release(
        id=number,
        version=int(told["version"]),
        champion=int(told["champion"]),
        actor=str(told["actor"]),
        steps=tuple(float(weight) for weight in told["steps"]),
        step=int(told["step"]),
        held=str(told["held"]),
        since_s=since_s,
    )


def _reigns(reigns: tuple[int, ...], champion: int | None, action: str) -> tuple[int, ...]:
    if champion is None or (reigns and reigns[-1] == champion):
        return reigns
    if action == "rollback" and champion in reigns:
        return reigns[: len(reigns) - reigns[::-1].index(champion)]
    return (*reigns, champion)
