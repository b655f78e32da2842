"""Lines of JSON as text: read leniently, copied and extended, never written anew.

A line that is parsed and serialised again loses digits of large numbers and one of two equal names.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NoReturn

import orjson

_SPACE = " \t\r\n"


def parse_object(line: bytes | str) -> dict[str, Any] | None:
    """Returns a line's object, numbers of any size in it rounded; None where it is none."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        row = _lenient(line)
    return row if isinstance(row, dict) else None


def _lenient(line: bytes | str) -> object:
    # orjson refuses numbers beyond a double and escaped lone surrogates, which are JSON.
    try:
        # As text: given bytes, it guesses UTF-16 and takes a byte order mark in the middle.
        text = line if isinstance(line, str) else line.decode("utf-8")
        return json.loads(text, parse_int=float, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def extend(line: str, fields: Mapping[str, object]) -> bytes | None:
    """Returns the line's own text with more fields at the end; None where it is no object."""
    row = parse_object(line)
    if row is None:
        return None
    own = line.strip(_SPACE).removesuffix("}")
    more = orjson.dumps(fields)[1:]
    return own.encode("utf-8") + (b"," if row else b"") + more


def taken_names(lines: Iterable[bytes], names: Collection[str]) -> set[str]:
    """Returns which names are fields of a line, of its object itself and not of one inside."""
    quoted = [json.dumps(name, ensure_ascii=False).encode("utf-8") for name in names]
    found: set[str] = set()
    for line in lines:
        # A name may be written with escapes; all other lines need no parsing.
        if b"\\" in line or any(name in line for name in quoted):
            found |= (parse_object(line) or {}).keys() & set(names)
    return found
