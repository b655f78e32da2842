"""What became of a model's last automatic release, by its audit. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from registry.records import Event

_ENDS = {
    "promote": "promoted",
    "release_rollback": "rolled back",
    "release_abort": "aborted",
}


@dataclass(frozen=True, slots=True)
class ReleaseOutcome:
    """A release that is over.

    Attributes:
        id: Audit entry that began it.
        version: The candidate.
        outcome: ``promoted``, ``rolled back``, ``aborted``; else the action that ended it.
        at_s: When, in Unix time.
        actor: Who ended it.
        reason: Why.
    """

    id: int
    version: int
    outcome: str
    at_s: float
    actor: str
    reason: str

    def __str__(self) -> str:
        return f"the last one, of version {self.version}, was {self.outcome}: {self.reason}"


def last_outcome(events: Sequence[Event]) -> ReleaseOutcome | None:
    """Of the last release that is over, by all entries, oldest first; None when there is none."""
    begun: tuple[int, int] | None = None
    found = None
    for event in events:
        if "release" not in event.after:
            continue
        release = event.after["release"]
        if release is not None:
            begun = begun or (event.seq, release["version"])
        elif begun is not None:
            outcome = _ENDS.get(event.action, f"ended by {event.action}")
            found = ReleaseOutcome(*begun, outcome, event.at_s, event.actor, event.reason)
            begun = None
    return found
