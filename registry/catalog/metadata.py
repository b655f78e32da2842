"""A version's metadata by its author, and the MLflow tags that keep it."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from registry.backend.tags import REGISTERED_BY_TAG, VERSION_LABEL_TAG
from registry.lifecycle.decision_summary import own_description
from registry.records import ModelVersion

_FIELDS = ("author", "framework", "algorithm", "dataset_name")
_JSON_FIELDS = ("tags", "hyperparameters", "performance_metrics")
Word = Annotated[str, StringConstraints(strip_whitespace=True, max_length=255)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Metadata(BaseModel):
    """The specification's metadata of a version."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    author: Annotated[Word, Field(min_length=1)]
    description: str = Field(default="", max_length=3_000)
    tags: list[Word] = Field(default_factory=list, max_length=50)
    framework: Annotated[Word, Field(max_length=100)] = ""
    algorithm: Annotated[Word, Field(max_length=100)] = ""
    dataset_name: Word = ""
    hyperparameters: dict[str, Any] = Field(default_factory=dict, max_length=200)
    performance_metrics: dict[str, Finite] = Field(default_factory=dict, max_length=100)

    @field_validator("tags")
    @classmethod
    def _without_blanks(cls, tags: list[str]) -> list[str]:
        return list(dict.fromkeys(tag for tag in tags if tag))


def metadata_tags(metadata: Metadata) -> dict[str, str]:
    """The version tags that keep ``metadata``; empty values too, so that they replace others."""
    plain = {field: getattr(metadata, field) for field in _FIELDS}
    # Named apart from our own tags and from what MLflow shows of the LoggedModel.
    return plain | {
        field: json.dumps(getattr(metadata, field), ensure_ascii=False, allow_nan=False)
        for field in _JSON_FIELDS
    }


def metadata_of(version: ModelVersion) -> Metadata:
    """A version's metadata; the author of one from the pipeline is its registrar."""
    tags = version.tags
    return Metadata.model_construct(
        author=tags.get("author") or tags.get(REGISTERED_BY_TAG, "unknown"),
        description=own_description(version.description),
        tags=[str(tag) for tag in _json(tags, "tags", list)],
        framework=tags.get("framework", ""),
        algorithm=tags.get("algorithm", ""),
        dataset_name=tags.get("dataset_name", ""),
        hyperparameters=_json(tags, "hyperparameters", dict),
        performance_metrics=_json(tags, "performance_metrics", dict),
    )


def label_of(version: ModelVersion) -> str:
    """The author's name for a version; its number when there is none."""
    return version.tags.get(VERSION_LABEL_TAG) or str(version.version)


def _json(tags: Mapping[str, str], key: str, kind: type[Any]) -> Any:
    """A JSON tag's value; empty when a person wrote something else there."""
    try:
        value = json.loads(tags.get(key, ""))
    except ValueError:
        return kind()
    return value if isinstance(value, kind) else kind()
