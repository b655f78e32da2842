"""Every regular expression of the server is linear in the text: four times as long, five as slow.

Found by importing all modules, so a new one is measured too.
"""

import importlib
import pkgutil
import re
import time
from collections.abc import Iterator

import pytest

import configs
import deployments
import operations.front
import registry

# What makes backtracking expensive: runs of one class, and runs with a separator.
PIECES = ("a", "1", "a.", "a-", "-", ".", "@", "a@", "www.", "http://", "/", "%", " ", "\t\n", "é")
# Four times the text: linear work is 4 times, quadratic 16; a busy machine is between. One step is
# enough, for what Python's memory costs jumps where blocks become mappings of their own.
STEPS = ((6_000, 24_000), (12_000, 48_000))
# Asked with ``match`` alone, at one place of a text.
AT_A_PLACE = {"deployments.prediction_log.rows._DOMAIN"}
QUICK_S = 0.002


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    seen = set[str]()
    for package in (configs, deployments, registry, operations.front):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            for name, value in vars(module).items():
                is_text = isinstance(value, re.Pattern) and isinstance(value.pattern, str)
                if is_text and value.pattern not in seen:
                    seen.add(value.pattern)
                    yield f"{found.name}.{name}", value


PATTERNS = dict(patterns())


def least_s(name: str, text: str, times: int) -> float:
    pattern, least = PATTERNS[name], 10.0
    for _ in range(times):
        began_s = time.thread_time()
        (pattern.match if name in AT_A_PLACE else pattern.search)(text)
        pattern.fullmatch(text)
        least = min(least, time.thread_time() - began_s)
    return least


def is_linear(name: str, short: str, long: str, times: int) -> bool:
    long_s = least_s(name, long, times)
    return long_s < QUICK_S or long_s <= 10 * least_s(name, short, times)


def test_they_are_found() -> None:
    assert len(PATTERNS) > 20
    assert any(name.startswith("deployments.prediction_log") for name in PATTERNS)


def is_linear_in_some_step(name: str, piece: str, end: str) -> bool:
    for sizes in STEPS:
        short, long = (piece * (size // len(piece)) + end for size in sizes)
        if is_linear(name, short, long, 1) or is_linear(name, short, long, 9):
            return True
    return False


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_is_linear(name: str) -> None:
    slow = [
        f"{piece!r} {end!r}"
        for piece in PIECES
        for end in ("", "\x00")
        if not is_linear_in_some_step(name, piece, end)
    ]
    assert not slow


def test_a_quadratic_pattern_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PATTERNS, "planted", re.compile(r"a+@"))
    monkeypatch.setattr(f"{__name__}.STEPS", ((1_000, 4_000), (2_000, 8_000)))
    assert not is_linear_in_some_step("planted", "a", "")
