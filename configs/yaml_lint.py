"""A YAML file against a pydantic model, strictly, with line numbers.

For files whose own reader drops keys that it does not know, as Ray Serve's does. Knows no
Ray: the caller brings the model class.
"""

import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml
from pydantic import BaseModel, ValidationError

from configs.messages import did_you_mean

_INDEX = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong with a file.

    Attributes:
        line: From 1; 0 if it belongs to no line.
        path: Where in the document: ``applications[0].deployments[1].num_replica``.
        message: What is wrong, a sentence that goes after the path.
    """

    line: int
    path: str
    message: str


def check_keys(
    node: yaml.Node, model: type[BaseModel], renamed: Mapping[str, str], path: str = ""
) -> Iterator[Problem]:
    """Every key that the model does not have, and values of loose parts.

    A field that takes a plain dict besides a model (Ray's ``autoscaling_config``) is checked
    as the model, values included, because the document's own validation leaves it alone.

    Args:
        node: The composed document.
        model: What the document should be.
        renamed: Old key to its present name.
        path: Of ``node``.
    """
    if not isinstance(node, yaml.MappingNode):
        return
    names = {info.alias or name: info.annotation for name, info in model.model_fields.items()}
    for key, value in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            continue
        name = str(key.value)
        here = f"{path}.{name}" if path else name
        if name not in names:
            hint = f"; it is now {renamed[name]}" if name in renamed else did_you_mean(name, names)
            yield Problem(_line(key), here, f"is not a setting of {model.__name__}{hint}")
            continue
        nested, loose = _models_in(names[name])
        for item, place in _items(value, here):
            if nested is not None:
                yield from check_keys(item, nested, renamed, place)
                if loose:
                    yield from check_values(item, nested, place)


def check_repeats(node: yaml.Node, path: str = "") -> Iterator[Problem]:
    """Every key that a mapping has twice, at any depth."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            here = f"{path}.{name}" if path else name
            if name in seen:
                yield Problem(_line(key), here, "is there twice; YAML keeps only the last")
            seen.add(name)
            yield from check_repeats(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            yield from check_repeats(item, f"{path}[{position}]")


def check_values(node: yaml.Node, model: type[BaseModel], path: str = "") -> Iterator[Problem]:
    """What the model itself refuses in the document's values."""
    try:
        model.model_validate(plain(node))
    except ValidationError as error:
        for detail in error.errors():
            if detail["type"] == "extra_forbidden":
                continue  # check_keys says it better
            place, culprit = path, node
            for part in detail["loc"]:
                child = _child(culprit, part)
                if child is None:
                    break  # from here on the location names types, not keys
                culprit = child
                place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else part
            message = detail["msg"].removeprefix("Value error, ")
            yield Problem(_line(culprit), place, f"is refused: {message}")


def line_of(node: yaml.Node, path: str) -> int:
    """The line of the deepest part of a dotted path that the document has."""
    for part in _INDEX.sub(r".\1", path).split("."):
        child = _child(node, int(part) if part.isdigit() else part)
        if child is None:
            break
        node = child
    return _line(node)


def plain(node: yaml.Node) -> typing.Any:
    """The document's values, as ``yaml.safe_load`` gives them."""
    loader = yaml.SafeLoader("")
    return loader.construct_document(node)


def _child(node: yaml.Node, part: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        found = [value for key, value in node.value if key.value == str(part)]
        return found[-1] if found else None
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        child: yaml.Node = node.value[part]
        return child
    return None


def _items(node: yaml.Node, path: str) -> Iterator[tuple[yaml.Node, str]]:
    if isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            yield item, f"{path}[{position}]"
    else:
        yield node, path


def _models_in(annotation: typing.Any) -> tuple[type[BaseModel] | None, bool]:
    """The model that a type holds, and whether a plain dict would do as well."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    if annotation is dict or typing.get_origin(annotation) is dict:
        return None, True
    inner = [_models_in(part) for part in typing.get_args(annotation)]
    nested = next((model for model, _ in inner if model is not None), None)
    return nested, any(loose for _, loose in inner)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
