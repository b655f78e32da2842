"""Who gives labels, and who differs from what holds far more often than the others. Pure."""

import hashlib
import math
from collections.abc import Sequence

from deployments.insight.feedback.schemas import ActorBody

# An actor is suspicious from so many events on, so many standard deviations above the others.
_MIN_EVENTS, _DEVIATIONS = 20, 4.0


def digest_of(actor: str) -> str:
    """What is kept of somebody's name."""
    return hashlib.blake2b(actor.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def actor_bodies(rows: Sequence[tuple[str, str, int, int]]) -> list[ActorBody]:
    """Of each actor and source: events, and those that differ from what holds."""
    everyone = sum(n for *_, n, _ in rows)
    differing = sum(wrong for *_, wrong in rows)
    found = []
    for actor, source, n, wrong in rows:
        others = everyone - n
        rate = (differing - wrong + 1) / (others + 2)
        deviation = (wrong - n * rate) / math.sqrt(n * rate * (1 - rate))
        suspicious = n >= _MIN_EVENTS and others >= _MIN_EVENTS and deviation > _DEVIATIONS
        body = {"actor": actor, "source": source, "n": n, "differing": wrong}
        found.append(ActorBody.model_validate(body | {"suspicious": suspicious}))
    return found
