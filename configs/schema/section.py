"""What every section of the settings has in common. ``schema.py`` puts the sections together."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

_DATABASE = re.compile(r"(sqlite|postgresql)(\+\w+)?://.+")


class Section(BaseModel):
    """A section: unknown keys are refused, values are converted, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


def _database(uri: SecretStr) -> SecretStr:
    if not _DATABASE.fullmatch(uri.get_secret_value()):
        raise ValueError("is no sqlite or postgresql URI")
    return uri


DatabaseUri = Annotated[
    SecretStr,
    AfterValidator(_database),
    Field(json_schema_extra={"limits": "a sqlite or postgresql URI"}),
]
