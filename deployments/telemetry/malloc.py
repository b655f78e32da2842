"""Keeps the resident memory of a process near what it uses, where glibc would keep more.

Bodies of all sizes come and go between small objects that stay. glibc raises the size from which
an allocation is a mapping of its own, which goes back to the system when it is freed, to that of
the largest one freed, up to 32 MB: after that the bodies lie in its heaps and leave holes there.
Nothing leaks, but a pod's limit does not know that (``docs/guides/access.md`` has the figures).
"""

import asyncio
import ctypes
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from deployments.telemetry.background import keep_running

_EVERY_S = 10.0
# A trim walks all heaps and holds their locks meanwhile: some 10 ms, more where cores are busy.
_WORTH_BYTES = 4 << 20
# <malloc.h>. A threshold that is set is not raised any more.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_MAPPED_FROM_BYTES = 65_536


def map_large_pieces() -> bool:
    """Makes every allocation from 64 KiB on a mapping of its own; False without glibc.

    Threads that begin later share the heaps that there are, for each heap has its own holes.
    """
    try:
        set_option: Callable[[int, int], int] = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    set_option(_M_ARENA_MAX, 2)
    return bool(set_option(_M_MMAP_THRESHOLD, _MAPPED_FROM_BYTES))


def trimmer() -> Callable[[], object] | None:
    """What gives back all free pages of this process, in milliseconds; None without glibc."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    return lambda: found(0)


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def give_memory_back() -> asyncio.Task[None]:
    """``trim_for_ever`` as a task that goes on until it is cancelled."""
    return keep_running(partial(trim_for_ever, trimmer()), "giving memory back")


async def trim_for_ever(
    trim: Callable[[], object] | None,
    every_s: float = _EVERY_S,
    resident: Callable[[], int] = resident_bytes,
) -> None:
    """Does so beside the loop whenever the process has grown by 4 MiB since the last time.

    Returns where there is nothing to do it with.
    """
    least = 0
    while trim is not None:
        await asyncio.sleep(every_s)
        if resident() >= least + _WORTH_BYTES:
            await asyncio.to_thread(trim)
            least = resident()
