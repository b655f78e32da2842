"""What a change waits for after the registry has taken it: a server may still refuse it. Pure."""

from registry.lifecycle.state import CHAMPION
from registry.records import Event

_LIMITS = (
    "one that takes over rollout.max_slowdown times the champion's time, or gives fewer than "
    "rollout.min_golden_agreement of the golden texts its label"
)


def pending_change(event: Event) -> str | None:
    """What an alias that was moved waits for, and how to follow it; None when for nothing."""
    before, after = (side.get("aliases", {}) for side in (event.before, event.after))
    moved = [
        alias
        for alias in (CHAMPION, "challenger", "shadow")
        if alias in after and after[alias] != before.get(alias)
    ]
    if not moved or (moved == [CHAMPION] and CHAMPION not in before):
        return None
    role = moved[0]
    refused = "one that fails there" if role == "shadow" else f"one that fails there, {_LIMITS},"
    return (
        f"pending: a server of this model loads version {after[role]} and probes it beside the "
        f"champion before it is {role}; {refused} loses the role again within seconds. What became "
        f"of it: sentigraph models audit {event.model}, or GET /api/v1/models/{event.model}/audit"
    )


def pending_release(event: Event) -> str:
    """What a release that was ordered waits for, and how to follow it."""
    return (
        f"pending: a server of this model probes version {event.version}, then takes the steps of "
        f"policy.release; it is rolled back when it is beyond a limit. Where it is: sentigraph "
        f"release {event.model}, or GET /api/v1/models/{event.model}/release"
    )
