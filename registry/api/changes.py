"""Bodies of changes that a server may still refuse."""

from pydantic import Field

from registry.api.schemas import EventBody, VersionBody

_PENDING = Field(
    default=None,
    description="What it waits for until it serves, and how to follow that; null when for nothing.",
)


class ChangeBody(EventBody):
    """The audit entry of a change of roles."""

    pending: str | None = _PENDING


class MovedVersion(VersionBody):
    """A version in its new stage."""

    pending: str | None = _PENDING
