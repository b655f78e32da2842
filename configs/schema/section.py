"""What every section of the settings has in common. ``schema.py`` puts the sections together."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section: unknown keys are refused, values are converted, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)
