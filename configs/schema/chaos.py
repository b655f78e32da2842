"""Settings of faults that a server makes on purpose. Part of ``schema.py``."""

from pydantic import Field

from configs.schema.section import Section


class ChaosConfig(Section):
    """Whether an admin may let predictions be late or fail (`docs/guides/resilience.md`)."""

    enabled: bool = Field(
        False,
        description="Answer `/api/v1/chaos/…`, with the role admin; when off, 503 E4006. Refused with profile `production`.",
    )
    max_seconds: float = Field(
        600,
        gt=0,
        le=3_600,
        description="Longest time that faults are made before they end by themselves; asking for more is 422.",
    )
