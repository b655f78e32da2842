"""A finding of ``sentigraph doctor``: how bad it is, what was found, and what to do about it."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["OK", "WARN", "FAIL"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about one thing.

    Attributes:
        check: What was looked at, for example ``cores``.
        level: ``FAIL``: it will not work; ``WARN``: it works worse than it could, or could not be
            checked; ``OK``.
        said: What was found, with the figures.
        advice: What to do; empty for ``OK``.
    """

    check: str
    level: Level
    said: str
    advice: str = ""


def ok(check: str, said: str) -> Finding:
    """All is well."""
    return Finding(check, "OK", said)


def warn(check: str, said: str, advice: str) -> Finding:
    """It works, worse than it could."""
    return Finding(check, "WARN", said, advice)


def fail(check: str, said: str, advice: str) -> Finding:
    """It will not work."""
    return Finding(check, "FAIL", said, advice)


def graded(check: str, said: str, advice: str, *, fails: bool, warns: bool = False) -> Finding:
    """``FAIL`` or ``WARN`` with the advice, where one of them holds; else ``OK`` without."""
    if fails:
        return fail(check, said, advice)
    return warn(check, said, advice) if warns else ok(check, said)
