"""Progress on stderr: a bar on a terminal, a plain line now and then anywhere else.

A log file takes lines; a bar in it would be one line of kilobytes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
EVERY_S = 15.0


def progress(
    items: Iterable[Item], *, desc: str, unit: str, total: int | None = None
) -> Iterator[Item]:
    """Yields the items, and says how many of ``total`` are done."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc=desc, unit=unit, total=total, mininterval=1)
        return
    if total is None and isinstance(items, Sized):
        total = len(items)
    started = shown = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += 1
        if (now := time.monotonic()) - shown >= EVERY_S:
            shown = now
            say(_line(desc, done, total, unit, now - started))
    say(_line(desc, done, total, unit, time.monotonic() - started))


def say(text: str) -> None:
    """A line on stderr, above a bar if there is one."""
    tqdm.write(text, file=sys.stderr)


def _line(desc: str, done: int, total: int | None, unit: str, seconds: float) -> str:
    of = f" of {total}" if total else ""
    return f"{desc}: {done}{of} {unit}, {seconds:.0f} s"
