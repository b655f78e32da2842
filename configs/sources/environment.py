"""Environment variables, or the lines of a ``.env`` file → settings and what is wrong in them.

Pure: it is handed a mapping. Nothing that starts with ``MLOPS_`` passes unread.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, SecretStr

from configs.messages import Given, did_you_mean, shown
from configs.schema.fields import PREFIX, Setting, settings
from configs.sources.environment_names import VARIABLES, Variable, is_true
from configs.sources.unsupported_names import ABSENT, Absent

_TABLE = {variable.name: variable for variable in VARIABLES}
_ABSENT = {name: group for group in ABSENT for name in group.all_names}

# Kubernetes gives every pod such variables for each Service in its namespace: a Service
# called "mlops-ui" makes MLOPS_UI_SERVICE_HOST, and that is nobody's setting.
_SERVICE_LINK = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$")
_LINK_VALUE = re.compile(r"^(tcp|udp|sctp)://[^/]+:\d+$")


@dataclass(slots=True)
class Layer:
    """The settings that one place gives.

    Attributes:
        given: Value of each setting, by dotted name.
        lifts: Minimum of a setting that the layer itself does not set.
        problems: Sentences; the configuration is refused if there is one.
        without_effect: Known names that do nothing in this release, with their subsystem.
    """

    given: dict[str, Given] = field(default_factory=dict)
    lifts: list[Given] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    without_effect: list[str] = field(default_factory=list)


def read_variables(
    variables: Mapping[str, str | None], model: type[BaseModel], *, place: str = ""
) -> Layer:
    """Reads every variable that is ours. An empty value counts as unset.

    Args:
        variables: The environment, or a ``.env`` file's lines.
        model: The schema whose settings have systematic names.
        place: Added to each name in messages, for example ``" in .env"``.
    """
    layer = Layer()
    systematic = {setting.variable: setting for setting in settings(model).values()}
    for name, text in sorted(variables.items()):
        if text is None or not text.strip() or _is_service_link(name, text):
            continue
        try:
            if name in _TABLE:
                _read(layer, _TABLE[name], text, model, place)
            elif name in systematic:
                setting = systematic[name]
                raw = SecretStr(text) if setting.secret else text
                _take(layer, setting, Given(setting.name, setting.parse(text), name, place, raw))
            elif name in _ABSENT:
                _leave_out(layer, _ABSENT[name], name, text)
            elif name.upper().startswith(PREFIX):
                hint = did_you_mean(name, [*systematic, *_TABLE, *_ABSENT])
                layer.problems.append(f"{name}{place} is not a setting{hint}")
        except ValueError as error:
            layer.problems.append(f"{name}={shown(text)}{place} {error}")
    return layer


def _read(layer: Layer, variable: Variable, text: str, model: type[BaseModel], place: str) -> None:
    known = settings(model)
    if variable.read is None:
        values: tuple[object, ...] | None = (known[variable.fields[0]].parse(text),)
    else:
        values = variable.read(text)
    if values is None:
        return
    # A name that gives a secret and more besides is masked in both.
    raw = SecretStr(text) if any(known[name].secret for name in variable.fields) else text
    for name, value in zip(variable.fields, values, strict=True):
        _take(layer, known[name], Given(name, value, variable.name, place, raw))
    if variable.raises is not None:
        layer.lifts.append(Given(variable.raises, values[0], variable.name, place, text))


def _take(layer: Layer, setting: Setting, new: Given) -> None:
    old = layer.given.setdefault(setting.name, new)
    if setting.coerce(old.value) != setting.coerce(new.value):
        layer.problems.append(f"{old} and {new} set {setting.name} to different values")


def _leave_out(layer: Layer, group: Absent, name: str, text: str) -> None:
    if group.is_switch(name) and is_true(text):
        if name not in group.always_on:
            layer.problems.append(
                f"{name}={text} asks for what this release does not have ({group.subsystem}): "
                "unset it or make it false"
            )
    else:
        layer.without_effect.append(f"{name} ({group.subsystem})")


def _is_service_link(name: str, text: str) -> bool:
    return bool(_SERVICE_LINK.search(name) or (name.endswith("_PORT") and _LINK_VALUE.match(text)))
