"""Processes of a stack or of a server: which they are, what they use, and their end."""

import os
import re
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from operations.local_stack.processes import MARK, belonging
from operations.local_stack.stack import Stack

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_REPLICA = re.compile(r"ray::ServeReplica:\w+:(\w+)")


def command_line(pid: int) -> str:
    """Program and arguments; empty for a process that has ended."""
    with suppress(OSError):
        content = (_PROC / str(pid) / "cmdline").read_bytes()
        return content.replace(b"\0", b" ").decode(errors="replace")
    return ""


def replicas(stack: Stack) -> dict[int, str]:
    """Process id to deployment of every replica of the stack."""
    pids = sorted(belonging(stack.environ[MARK], set()))
    titles = {pid: _REPLICA.match(command_line(pid)) for pid in pids}
    return {pid: title[1] for pid, title in titles.items() if title}


def replicas_of(stack: Stack, deployment: str) -> list[int]:
    """Process ids of a deployment's replicas."""
    return [pid for pid, name in replicas(stack).items() if name == deployment]


def kill_one(stack: Stack, deployment: str) -> None:
    """Sends SIGKILL to one replica; returns when another process has its place."""
    before = replicas_of(stack, deployment)
    os.kill(before[0], signal.SIGKILL)
    until_s = time.monotonic() + 120
    while len(set(replicas_of(stack, deployment)) - {before[0]}) < len(before):
        assert time.monotonic() < until_s, f"no new replica of {deployment}"
        time.sleep(0.2)


def kill_all(mark: str) -> None:
    """Sends SIGKILL to every process that belongs to ``mark``; returns when none is left."""
    while left := belonging(mark, set()):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def cpu_s(pids: Iterable[int], *, ended_children: bool = False) -> float:
    """User and system seconds so far; also of children that have ended, where asked for."""
    # After the name, which may hold spaces: utime, stime, cutime, cstime are 12th to 15th.
    last = 15 if ended_children else 13
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8")
            ticks += sum(map(int, stat.rpartition(")")[2].split()[11:last]))
    return ticks / _TICKS_PER_S


def memory_mb(pids: Iterable[int]) -> tuple[float, float]:
    """Resident memory in MB: with shared pages counted in every process, and shared out (PSS)."""
    kilobytes = {"Rss:": 0, "Pss:": 0}
    for pid in pids:
        with suppress(OSError):
            rollup = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="utf-8")
            for line in rollup.splitlines():
                name, *value = line.split()
                if name in kilobytes:
                    kilobytes[name] += int(value[0])
    return round(kilobytes["Rss:"] / 1_024, 1), round(kilobytes["Pss:"] / 1_024, 1)
