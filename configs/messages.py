"""Sentences for a refused configuration: the setting as the user named it, its value, its limit."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pydantic import SecretStr, ValidationError

from configs.schema.fields import Setting

_SHOWN_CHARS = 120
_PASSWORD = re.compile(r"(://[^/:\s]*):[^/\s]*@")


@dataclass(frozen=True, slots=True)
class Given:
    """One value that somebody set.

    Attributes:
        field: Dotted setting.
        value: What the schema is given.
        name: The name that the user used: the dotted setting or a variable.
        place: Where, as the end of a phrase: `` in args``; empty for the environment.
        raw: The value as the user wrote it.
    """

    field: str
    value: object
    name: str
    place: str
    raw: object

    def __str__(self) -> str:
        """``MLOPS_MAX_REQUEST_TIMEOUT=30 (limits.default_deadline_ms=30000)``."""
        same = self.raw == self.value or str(self.raw).lower() == str(self.value).lower()
        meant = "" if same else f" ({self.field}={shown(self.value)})"
        return f"{self.name}={shown(self.raw)}{meant}{self.place}"


def shown(value: object) -> str:
    """A value for a message: text with spaces is quoted, long text cut, secrets masked."""
    if isinstance(value, SecretStr):
        return "***"
    plain = isinstance(value, str) and value.isprintable() and value and " " not in value
    text = _PASSWORD.sub(r"\1:***@", str(value) if plain else repr(value))
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean X?`` for the nearest known name, or nothing where none is near."""
    folded = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[near[0]]}?" if near else ""


def sentences(
    error: ValidationError, settings: Mapping[str, Setting], given: Mapping[str, Given]
) -> Iterator[str]:
    """One sentence for each thing that the schema refused, one for each source."""
    seen: set[str] = set()
    for detail in error.errors():
        name = ".".join(str(part) for part in detail["loc"])
        leaf = _leaf(name, settings)
        if leaf is None:
            for line in detail["msg"].removeprefix("Value error, ").splitlines():
                yield _contradiction(name, line, given)
        elif (source := given[leaf].name) not in seen:
            seen.add(source)
            yield f"{given[leaf]} must be {settings[leaf].limits}"


def _leaf(name: str, settings: Mapping[str, Setting]) -> str | None:
    # An error inside a list or mapping has the item's position after the setting's name.
    while name and name not in settings:
        name = name.rpartition(".")[0]
    return name or None


def _contradiction(name: str, message: str, given: Mapping[str, Given]) -> str:
    if name and not message.startswith(name):
        message = f"{name}: {message}"
    culprits = [
        f"{field} is set" + (f" by {entry.name}" if entry.name != field else "") + entry.place
        for field, entry in given.items()
        if (entry.name != field or entry.place)
        and re.search(rf"(?<![\w.]){re.escape(field)}(?![\w.])", message)
    ]
    return message + (f" ({', '.join(culprits)})" if culprits else "")
