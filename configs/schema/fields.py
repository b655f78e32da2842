"""The schema seen as a flat list of settings: dotted name, type, default, limits.

Everything that names settings uses it: the environment reader, the error sentences,
the reference document. Works on any pydantic model, so it can be tested on a small one.
"""

import functools
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

PREFIX = "MLOPS_"
_ARRAYS: tuple[type, ...] = (list, tuple, set, frozenset, Sequence, AbstractSet)


@dataclass(frozen=True, slots=True)
class Setting:
    """One leaf of the schema.

    Attributes:
        name: Dotted name, for example ``limits.max_text_chars``.
        info: pydantic's record of the field: type, limits, description.
        default: Its value when nobody sets it.
    """

    name: str
    info: FieldInfo
    default: object

    @property
    def variable(self) -> str:
        """Its systematic environment name, for example ``MLOPS_LIMITS__MAX_TEXT_CHARS``."""
        return PREFIX + self.name.replace(".", "__").upper()

    @property
    def secret(self) -> bool:
        """Whether its value must never be shown."""
        return _bare(self.info.annotation) is SecretStr

    def parse(self, text: str) -> object:
        """Turns an environment value into something that the schema can validate.

        Lists take JSON or commas, mappings take JSON, choices ignore case; other text is
        left to the schema.

        Raises:
            ValueError: The text starts as JSON and is not, or a mapping is not JSON.
        """
        kind = _bare(self.info.annotation)
        origin = typing.get_origin(kind) or kind
        if self.secret:
            return SecretStr(text.strip())
        if origin is typing.Literal:
            choices = {str(choice).lower(): choice for choice in typing.get_args(kind)}
            return choices.get(text.strip().lower(), text)
        if isinstance(origin, type) and issubclass(origin, (Mapping, BaseModel)):
            return _json(text, dict)
        if origin in _ARRAYS:
            if text.lstrip().startswith("["):
                return _json(text, list)
            return [item.strip() for item in text.split(",") if item.strip()]
        return text

    def coerce(self, value: object) -> object:
        """The value as the schema would keep it; unchanged where the schema refuses it."""
        try:
            annotation: Any = self.info.annotation
            coerced: object = TypeAdapter(annotation).validate_python(value)
        except ValidationError:
            return value
        return coerced

    @property
    def limits(self) -> str:
        """What the value must be, in words: ``a whole number from 1 to 64``."""
        extra = self.info.json_schema_extra
        if isinstance(extra, dict) and "limits" in extra:
            return str(extra["limits"])
        kind = _bare(self.info.annotation)
        if typing.get_origin(kind) is typing.Literal:
            return "one of " + ", ".join(str(choice) for choice in typing.get_args(kind))
        words = {
            bool: "true or false",
            int: "a whole number",
            float: "a number",
            str: "text",
            SecretStr: "secret text",
        }.get(kind if isinstance(kind, type) else object, "a list or mapping")
        return " ".join([words, *self._bounds()])

    def _bounds(self) -> Iterator[str]:
        bounds = _constraints(self.info)
        low, high = bounds.get("ge"), bounds.get("le")
        if low is not None and high is not None:
            yield f"from {low} to {high}"
        elif low is not None:
            yield f"from {low}"
        elif high is not None:
            yield f"up to {high}"
        if "gt" in bounds:
            yield f"above {bounds['gt']}"
        if "lt" in bounds:
            yield f"below {bounds['lt']}"
        if "min_length" in bounds:
            yield f"of at least {bounds['min_length']} character"


@functools.cache
def settings(model: type[BaseModel]) -> Mapping[str, Setting]:
    """Every leaf of a model whose fields all have defaults, by dotted name, in schema order."""
    return {setting.name: setting for setting in _walk(model, model(), "")}


@functools.cache
def sections(model: type[BaseModel]) -> frozenset[str]:
    """Dotted names of the nested models."""
    names = settings(model)
    return frozenset(
        name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count(".") + 1)
    )


def _walk(model: type[BaseModel], values: BaseModel, prefix: str) -> Iterator[Setting]:
    for name, info in model.model_fields.items():
        value = getattr(values, name)
        if isinstance(value, BaseModel):
            yield from _walk(type(value), value, f"{prefix}{name}.")
        else:
            yield Setting(prefix + name, info, value)


def _bare(annotation: object) -> object:
    """The type without ``Annotated`` and without ``| None``."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _bare(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        some = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        if len(some) == 1:
            return _bare(some[0])
    return annotation


def _constraints(info: FieldInfo) -> dict[str, object]:
    found: dict[str, object] = {}
    for item in info.metadata:
        for key in ("ge", "gt", "le", "lt", "min_length"):
            if (value := getattr(item, key, None)) is not None:
                found[key] = value
    return found


def _json(text: str, kind: type) -> object:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"is not JSON ({error})") from error
    if not isinstance(value, kind):
        raise ValueError(f"is not a JSON {'object' if kind is dict else 'array'}")
    return value
