"""Finds versions by their metadata, stage, aliases and figures. Pure: records in, a page out."""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from registry.catalog.evaluations import latest
from registry.catalog.metadata import Metadata, label_of
from registry.errors import InvalidValue
from registry.records import Measurement, ModelVersion

_CONDITION = re.compile(r"([\w.\-/ ]{1,100}?)(>=|<=|==|>|<)(-?\d+(?:\.\d+)?(?:[eE]-?\d+)?)")
_PARAMETER = re.compile(r"([\w.\-/ ]{1,100}?)(>=|<=|==|>|<)(.{1,200})")
_COMPARE = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
}
_SORTS = ("name", "version", "created_at", "updated_at")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version with everything that can be searched."""

    version: ModelVersion
    metadata: Metadata
    model_description: str
    measurements: Sequence[Measurement]


def _text(max_length: int, description: str) -> Any:
    return Field(default="", max_length=max_length, description=description)


class Query(BaseModel):
    """The conditions of a search; empty values match everything."""

    model_config = ConfigDict(frozen=True)
    text: str = _text(
        255,
        "Part of the model's name, of its or the version's description, or of the label; in any "
        "case. No character is a wildcard.",
    )
    tags: str = _text(300, "Comma list of tags, in any order and case-exact.")
    tags_mode: Literal["any", "all"] = "any"
    stage: Literal["", "draft", "staging", "production", "archived"] = ""
    alias: str = _text(255, "An alias that points at it.")
    author: str = _text(255, "Its author, exactly.")
    framework: str = _text(100, "Its framework, exactly.")
    algorithm: str = _text(100, "Its algorithm, exactly.")
    dataset_name: str = _text(255, "Its dataset as its author gave it, exactly.")
    hyperparameter: list[str] = Field(
        default_factory=list,
        max_length=10,
        description="Conditions such as `epochs>=3` or `optimizer==adam`; all must hold.",
    )
    metric: list[str] = Field(
        default_factory=list,
        max_length=10,
        description="Conditions such as `accuracy>=0.9` on the newest figure; all must hold.",
    )
    dataset: str = _text(255, "Only figures on this dataset count.")
    sort: str = Field(
        default="name",
        max_length=120,
        description="`name`, `version`, `created_at`, `updated_at` or `metric:NAME`; `-` before "
        "it reverses the order. Versions without the figure come last.",
    )
    limit: int = Field(default=100, ge=1, le=1_000)
    cursor: str | None = Field(default=None, max_length=600)


def search(
    candidates: Iterable[Candidate], query: Query
) -> tuple[list[Candidate], int, str | None]:
    """One page, how many match in all, and the cursor of the next page (None at the end).

    Raises:
        InvalidValue: A condition, the sort or the cursor cannot be read.
    """
    conditions = [_condition(text) for text in query.metric]
    parameters = [_parameter_condition(text) for text in query.hyperparameter]
    found = [
        candidate
        for candidate in candidates
        if _matches(candidate, query)
        and _measures(candidate, query, conditions)
        and all(_has_parameter(candidate, *parameter) for parameter in parameters)
    ]
    ordered = sorted(found, key=_order(query))
    start = 0
    if query.cursor is not None:
        name, number = _read_cursor(query.cursor, query.sort)
        keys = [(c.version.name, c.version.version) for c in ordered]
        if (name, number) not in keys:
            raise InvalidValue(
                "the version that the cursor names is gone: start again without a cursor"
            )
        start = keys.index((name, number)) + 1
    page = ordered[start : start + query.limit]
    more = start + query.limit < len(ordered)
    return page, len(ordered), _cursor(page[-1].version, query.sort) if more and page else None


def has_tags(tags: Iterable[str], listed: str, mode: str) -> bool:
    """Whether ``all`` or ``any`` of a comma list are among ``tags``; true for an empty list."""
    wanted = {word.strip() for word in listed.split(",") if word.strip()}
    return not wanted or (wanted <= set(tags) if mode == "all" else bool(wanted & set(tags)))


def _matches(candidate: Candidate, query: Query) -> bool:
    version, metadata = candidate.version, candidate.metadata
    stage = "production" if "champion" in version.aliases else version.stage
    fields = (version.name, candidate.model_description, metadata.description, label_of(version))
    text = query.text.casefold()
    return (
        (not text or any(text in field.casefold() for field in fields))
        and has_tags(metadata.tags, query.tags, query.tags_mode)
        and query.stage in ("", stage)
        and (not query.alias or query.alias in version.aliases)
        and query.author in ("", metadata.author)
        and query.framework in ("", metadata.framework)
        and query.algorithm in ("", metadata.algorithm)
        and query.dataset_name in ("", metadata.dataset_name)
    )


def _measures(
    candidate: Candidate, query: Query, conditions: Sequence[tuple[str, str, float]]
) -> bool:
    for metric, comparison, bound in conditions:
        value = _figure(candidate, metric, query.dataset)
        if value is None or not _COMPARE[comparison](value, bound):
            return False
    return True


def _has_parameter(candidate: Candidate, name: str, comparison: str, bound: str) -> bool:
    """Whether a hyperparameter compares so: as numbers where both are, else only as equal text."""
    value = candidate.metadata.hyperparameters.get(name)
    if value is None:
        return False
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return bool(_COMPARE[comparison](value, float(bound)))
        except ValueError:
            return False
    text = value if isinstance(value, str) else json.dumps(value)
    return comparison == "==" and text == bound


def _figure(candidate: Candidate, metric: str, dataset: str) -> float | None:
    measured = [m for m in candidate.measurements if dataset in ("", m.dataset)]
    newest = latest(measured, metric)
    return None if newest is None else newest.value


def _condition(text: str) -> tuple[str, str, float]:
    match = _CONDITION.fullmatch(text.strip())
    if match is None:
        raise InvalidValue(f"condition {text[:100]!r} is not like accuracy>=0.9")
    return match[1].strip(), match[2], float(match[3])


def _parameter_condition(text: str) -> tuple[str, str, str]:
    match = _PARAMETER.fullmatch(text.strip())
    if match is None:
        raise InvalidValue(f"condition {text[:100]!r} is not like epochs>=3 or optimizer==adam")
    return match[1].strip(), match[2], match[3].strip()


def _order(query: Query) -> Any:
    descending, name = query.sort.startswith("-"), query.sort.removeprefix("-")
    sign = -1 if descending else 1

    def figure(candidate: Candidate) -> tuple[Any, ...]:
        value = _figure(candidate, name.removeprefix("metric:"), query.dataset)
        version = candidate.version
        return (value is None, sign * (value or 0.0), version.name, version.version)

    def plain(candidate: Candidate) -> tuple[Any, ...]:
        version = candidate.version
        values: Mapping[str, float] = {
            "version": version.version,
            "created_at": version.created_s,
            "updated_at": version.updated_s,
        }
        if name == "name":
            text = tuple(sign * ord(c) for c in version.name)
            return (text if not descending else (*text, 1), version.version)
        return (sign * values[name], version.name, version.version)

    if name.startswith("metric:") and len(name) > len("metric:"):
        return figure
    if name not in _SORTS:
        raise InvalidValue(f"sort {name[:50]!r} is none of {', '.join(_SORTS)}, metric:NAME")
    return plain


def _cursor(version: ModelVersion, sort: str) -> str:
    text = json.dumps([sort, version.name, version.version])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_cursor(cursor: str, sort: str) -> tuple[str, int]:
    try:
        was, name, number = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
        if was != sort:
            raise ValueError
        return str(name), int(number)
    except (ValueError, TypeError) as error:
        raise InvalidValue("the cursor is not one of this search") from error
