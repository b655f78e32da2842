"""Processes by pid and start time, for a pid alone may soon be another's."""

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_STOPPED = "T"
_STATE, _PARENT, _STARTED = 0, 1, 19


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this machine.

    Attributes:
        pid: Its number.
        started: In clock ticks after the boot.
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """The process that has ``pid`` now; one that is not there is not alive."""
        fields = _stat(pid)
        return cls(pid, int(fields[_STARTED]) if fields else -1)

    @property
    def state(self) -> str:
        """The kernel's letter; empty once it is gone or a zombie."""
        fields = _stat(self.pid)
        if not fields or int(fields[_STARTED]) != self.started or fields[_STATE] in "ZX":
            return ""
        return fields[_STATE]

    @property
    def alive(self) -> bool:
        """Whether it runs, sleeps or is stopped."""
        return self.state != ""

    @property
    def stopped(self) -> bool:
        """Whether SIGSTOP holds it."""
        return self.state == _STOPPED

    def parent(self) -> "Process":
        """Its parent."""
        fields = _stat(self.pid)
        return Process.of(int(fields[_PARENT]) if fields else 0)

    def send(self, sent: signal.Signals) -> None:
        """Signals it, if it is still there."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sent)


def _stat(pid: int) -> list[str]:
    """Fields from the state on; the name before them may hold spaces."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
