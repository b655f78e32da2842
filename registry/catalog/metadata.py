"""A version's metadata by its author, and the MLflow tags that keep it."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from registry.backend.tags import REGISTERED_BY_TAG, VERSION_LABEL_TAG
from registry.lifecycle.decision_summary import own_description
from registry.plain_json import PlainJson, json_problem
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
    hyperparameters: PlainJson = Field(default_factory=dict, max_length=200)
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
        tags=[str(tag) for tag in _stored(tags, "tags", list)],
        framework=tags.get("framework", ""),
        algorithm=tags.get("algorithm", ""),
        dataset_name=tags.get("dataset_name", ""),
        hyperparameters=_stored(tags, "hyperparameters", dict),
        performance_metrics=_stored(tags, "performance_metrics", dict),
    )


def approval_note(version: ModelVersion, actor: str) -> str:
    """A warning for an approval by the version's own author or registrar; empty for others."""
    if actor not in (version.tags.get("author"), version.tags.get(REGISTERED_BY_TAG)):
        return ""
    return (
        f"{actor} made this version: the approval does not count for a promotion by {actor}; "
        f"someone else has to approve it too, or promote it"
    )


def label_of(version: ModelVersion) -> str:
    """The author's name for a version; its number when there is none."""
    return version.tags.get(VERSION_LABEL_TAG) or str(version.version)


def broken_fields(version: ModelVersion) -> list[str]:
    """Stored fields that cannot be shown, each with the reason; ``metadata_of`` leaves them out."""
    problems = ((key, parse_stored(version.tags.get(key, ""))[1]) for key in _JSON_FIELDS)
    return [f"{key}: {problem}" for key, problem in problems if problem]


def parse_stored(text: str) -> tuple[Any, str]:
    """A JSON tag's value, and why it cannot be shown; a person may have written anything."""
    try:
        value = json.loads(text or "null")
    except (ValueError, RecursionError):
        return None, "is no JSON"
    problem = json_problem(value)
    return (None, problem) if problem else (value, "")


def _stored(tags: Mapping[str, str], key: str, kind: type[Any]) -> Any:
    value, _ = parse_stored(tags.get(key, ""))
    return value if isinstance(value, kind) else kind()
