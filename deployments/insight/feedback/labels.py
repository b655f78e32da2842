"""What the events about one answer say together. Pure: the same events give the same label.

1. The latest event of an actor replaces that actor's earlier ones.
2. Reviewers' events (also imported ones) count alone where there are any; else callers' do.
3. The label that most actors give holds; a tie is a conflict.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Source = Literal["caller", "reviewer", "import"]
Status = Literal["single", "agreed", "conflict", "overruled"]


@dataclass(frozen=True, slots=True)
class FeedbackEvent:
    """Somebody's word on one answer; never changed once it is kept.

    Attributes:
        event_id: Names it.
        prediction_id: The answer.
        digest: The version that had answered.
        label: What would have been right.
        source: ``caller`` over ``/feedback``, ``reviewer`` over ``…/labels``, or ``import``.
        actor: A digest of who said it.
        received_s: When, in Unix time.
        comment: In that person's words.
    """

    event_id: str
    prediction_id: str
    digest: str
    label: str
    source: Source
    actor: str
    received_s: float
    comment: str = ""


@dataclass(frozen=True, slots=True)
class DerivedLabel:
    """The label of one answer.

    Attributes:
        label: The label that holds; the first of those that tie in a conflict.
        status: ``single`` actor, several ``agreed``, ``conflict`` (a tie), or ``overruled``:
            somebody says otherwise.
        trusted: Whether reviewers decided.
        events: How many there were.
        resolved_s: When the last event that counts came.
    """

    label: str
    status: Status
    trusted: bool
    events: int
    resolved_s: float


def derive(events: Iterable[FeedbackEvent]) -> DerivedLabel:
    """The label that follows from all events about one answer, of which there is at least one."""
    in_time = sorted(events, key=lambda event: (event.received_s, event.event_id))
    latest = {(event.source == "caller", event.actor): event for event in in_time}
    trusted = [event for (caller, _), event in latest.items() if not caller]
    counted = trusted or list(latest.values())
    votes = Counter(event.label for event in counted)
    most = max(votes.values())
    winners = sorted(label for label, n in votes.items() if n == most)
    others = len({event.label for event in latest.values()}) > 1
    status: Status = "single" if len(latest) == 1 else "agreed"
    if len(winners) > 1:
        status = "conflict"
    elif others:
        status = "overruled"
    return DerivedLabel(
        label=winners[0],
        status=status,
        trusted=bool(trusted),
        events=len(in_time),
        resolved_s=max(event.received_s for event in counted),
    )
