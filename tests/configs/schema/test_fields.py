"""Conversion of text by a field's type, on a model that has every kind."""

from collections.abc import Mapping
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from configs.schema.app import AppConfig
from configs.schema.fields import sections, settings
from configs.sources.environment import read_variables


class Inner(BaseModel):
    origins: list[str] = []
    weights: tuple[float, ...] = ()
    limits: dict[str, int] = {}
    mode: Literal["Fast", "slow"] = "slow"
    ratio: float | None = None
    even: Annotated[int, Field(gt=0, lt=9)] = 2
    low: int = Field(1, ge=1)
    high: int = Field(1, le=5)


class Outer(BaseModel):
    inner: Inner = Inner()
    text: str = Field("a", min_length=1)


KNOWN = settings(Outer)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("inner.origins", "a, b,,c ", ["a", "b", "c"]),
        ("inner.origins", '["a,b"]', ["a,b"]),
        ("inner.origins", "single", ["single"]),
        ("inner.weights", "1, 2.5", ["1", "2.5"]),
        ("inner.weights", " [1, 2.5]", [1, 2.5]),
        ("inner.limits", '{"a": 1}', {"a": 1}),
        ("inner.mode", "FAST", "Fast"),
        ("inner.mode", "other", "other"),
        ("inner.ratio", "0.5", "0.5"),
        ("text", "[x", "[x"),
    ],
)
def test_text_becomes_what_the_schema_can_validate(name: str, text: str, value: object) -> None:
    assert KNOWN[name].parse(text) == value


def test_values_arrive_in_their_type() -> None:
    layer = read_variables(
        {"MLOPS_INNER__WEIGHTS": "1,2.5", "MLOPS_INNER__LIMITS": '{"a": 1}'}, Outer
    )
    built = Outer.model_validate(
        {"inner": {name.split(".")[1]: given.value for name, given in layer.given.items()}}
    )
    assert built.inner.weights == (1.0, 2.5)
    assert built.inner.limits == {"a": 1}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("MLOPS_INNER__LIMITS", "a=1", "is not JSON"),
        ("MLOPS_INNER__LIMITS", "[1]", "is not a JSON object"),
        ("MLOPS_INNER__ORIGINS", "[1", "is not JSON"),
    ],
)
def test_malformed_json_is_a_problem(name: str, text: str, reason: str) -> None:
    (problem,) = read_variables({name: text}, Outer).problems
    assert problem.startswith(f"{name}={text} {reason}")


def test_limits_in_words() -> None:
    words: Mapping[str, str] = {name: setting.limits for name, setting in KNOWN.items()}
    assert words["inner.origins"] == "a list or mapping"
    assert words["inner.mode"] == "one of Fast, slow"
    assert words["inner.even"] == "a whole number above 0 below 9"
    assert words["inner.low"] == "a whole number from 1"
    assert words["inner.high"] == "a whole number up to 5"
    assert words["text"] == "text of at least 1 character"


def test_sections_are_the_nested_models() -> None:
    assert sections(Outer) == {"inner"}
    assert {"replicas", "replicas.model", "limits"} <= sections(AppConfig)


def test_every_setting_of_the_schema_says_what_it_does() -> None:
    for name, setting in settings(AppConfig).items():
        assert setting.info.description, name
