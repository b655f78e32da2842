"""What a server costs the machine: CPU time and memory of all its processes, from ``/proc``."""

import os
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pids: Iterable[int]) -> float:
    """User and system seconds so far, with those of children that have ended."""
    return sum(map(_ticks, pids)) / _TICKS_PER_S


def memory_mb(pids: Iterable[int]) -> tuple[float, float]:
    """Resident memory in MB: with shared pages counted in every process, and shared out (PSS)."""
    pids = list(pids)
    rss = sum(_kilobytes(pid, "Rss:") for pid in pids)
    pss = sum(_kilobytes(pid, "Pss:") for pid in pids)
    return round(rss / 1_024, 1), round(pss / 1_024, 1)


def _ticks(pid: int) -> int:
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return 0
    # After the name, which may hold spaces: utime, stime, cutime, cstime are 12th to 15th.
    return sum(int(value) for value in stat.rpartition(")")[2].split()[11:15])


def _kilobytes(pid: int, name: str) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(name))
