"""API keys as they are kept: made, read, rotated. Only digests; a key itself is shown once.

A key is 32 random bytes, so a fast digest is enough: there is nothing to guess.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter, ValidationError

from configs.errors import ConfigError
from configs.schema.access import ApiKey, Role

_KEYS: TypeAdapter[tuple[ApiKey, ...]] = TypeAdapter(tuple[ApiKey, ...])
_PREFIX = "sg_"
_MIN_CHARS = 8


def digest_of(key: str) -> str:
    """sha256 of a key, in hex."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def is_strong(key: str) -> bool:
    """Whether a key that a person chose has 8 characters, a letter and a digit."""
    return (
        len(key) >= _MIN_CHARS
        and any(character.isalpha() for character in key)
        and any(character.isdigit() for character in key)
    )


def read_keys(document: str) -> tuple[ApiKey, ...]:
    """The keys of a JSON list; an empty document has none.

    Raises:
        ConfigError: Not such a list; the message names places in it, never its content.
    """
    if not document.strip():
        return ()
    try:
        return _KEYS.validate_json(document)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the list"
        raise ConfigError(f"API keys: {place}: {first['msg']}") from None


def write_keys(keys: Iterable[ApiKey]) -> str:
    """The JSON list that ``read_keys`` reads."""
    return json.dumps([key.model_dump(mode="json", exclude_none=True) for key in keys])


def new_key(key_id: str, roles: Iterable[Role]) -> tuple[str, ApiKey]:
    """A random key and what is kept of it."""
    key = _PREFIX + secrets.token_urlsafe(32)
    return key, ApiKey(id=key_id, sha256=digest_of(key), roles=tuple(roles))


def rotated(
    keys: Iterable[ApiKey], key_id: str, overlap: timedelta, now: datetime | None = None
) -> tuple[str, tuple[ApiKey, ...]]:
    """A new key beside the newest of ``key_id``, which ends after ``overlap``; expired ones leave.

    Returns:
        The new key, to be shown once, and all keys as they are to be kept.

    Raises:
        ConfigError: No valid key has that id.
    """
    now = now or datetime.now(UTC)
    valid = [key for key in keys if key.expires_at is None or key.expires_at > now]
    mine = [key for key in valid if key.id == key_id]
    if not mine:
        raise ConfigError(f"no valid API key has the id {key_id!r}")
    ends = now + overlap
    key = _PREFIX + secrets.token_urlsafe(32)
    fresh = mine[-1].model_copy(update={"sha256": digest_of(key), "expires_at": None})
    ending = [
        old.model_copy(update={"expires_at": min(old.expires_at or ends, ends)})
        if old.id == key_id
        else old
        for old in valid
    ]
    return key, (*ending, fresh)
