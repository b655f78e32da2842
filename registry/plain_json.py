"""JSON that every reader and MLflow can keep; Python's own reader takes more than that."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

MAX_DEPTH = 32
_LARGEST_INT = 2**63 - 1


def json_problem(value: object, *, nul: bool = True) -> str:
    """Why a value is no plain JSON; empty when it is.

    Numbers are finite, integers fit 64 bits, text can be encoded, nothing is nested deeper than 32;
    where ``nul`` is False no text has a NUL, which PostgreSQL does not keep.
    """
    level: list[object] = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[object] = []
        for item in level:
            if isinstance(item, Mapping):
                inner += [*item.keys(), *item.values()]
            elif isinstance(item, list | tuple):
                inner += item
            elif problem := _scalar_problem(item, nul):
                return problem
        if not inner:
            return ""
        level = inner
    return f"values are nested deeper than {MAX_DEPTH} levels"


def _scalar_problem(value: object, nul: bool) -> str:
    if isinstance(value, str):
        if not nul and "\0" in value:
            return "text has a NUL"
        try:
            value.encode()
        except UnicodeEncodeError:
            return "text has a lone surrogate, which is no character"
        return ""
    if isinstance(value, float):
        return "" if math.isfinite(value) else "numbers must be finite"
    if isinstance(value, int):
        return "" if -_LARGEST_INT <= value <= _LARGEST_INT else "integers must fit 64 bits"
    return "" if value is None else f"{type(value).__name__} is no JSON value"


def _checked(value: dict[str, Any]) -> dict[str, Any]:
    if problem := json_problem(value, nul=False):
        raise ValueError(problem)
    return value


PlainJson = Annotated[dict[str, Any], AfterValidator(_checked)]
