"""Child processes of the local stack: started with a mark, stopped together and completely.

Ray's processes start others, some with new names that overwrite their environment, and
leave them behind when killed. What belongs to a stack is therefore found in two ways: by
the mark in a process's environment, and by the session that a marked process is in.
Nothing else is ever signalled.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

MARK = "SENTIGRAPH_STACK"
_PROC = Path("/proc")
_KILL_WAIT_S = 5.0
_ORPHANS_S = 1.0
_POLL_S = 0.1


class Child:
    """A program in a session of its own, its output in a file."""

    def __init__(
        self, command: Sequence[str], *, log: Path, cwd: Path, environ: Mapping[str, str]
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("wb") as stream:
            self._process = subprocess.Popen(  # noqa: S603  (our own command line)
                command,
                cwd=cwd,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs; a finished one is reaped."""
        return self._process.poll() is None

    def ask_to_end(self) -> None:
        """Sends SIGTERM to it alone; it ends its own children."""
        if self.alive:
            self._process.terminate()

    def why_ended(self) -> str:
        """The signal that killed it, else the last line of its output."""
        status = self._process.poll()
        if status is not None and status < 0:
            return f"killed by {signal.Signals(-status).name}"
        return self.last_line()

    def last_line(self) -> str:
        """The last line of its output, for a message."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def belonging(mark: str, sessions: set[int]) -> set[int]:
    """Pids of live processes that carry ``mark``, or are in a session of one that does.

    Args:
        mark: Value of the environment variable ``MARK``.
        sessions: Sessions known to belong; those found are added, so that a second call
            still finds what is left in them.
    """
    wanted = f"{MARK}={mark}".encode()
    live = {int(entry.name) for entry in _PROC.glob("[0-9]*")} - {os.getpid()}
    marked = {pid for pid in live if wanted in _environ(pid)}
    for pid in marked:
        sessions.add(_session(pid))
    sessions -= {0, os.getsid(0)}
    return marked | {pid for pid in live if _session(pid) in sessions and not _is_zombie(pid)}


def end_all(mark: str, children: Sequence[Child], grace_s: float) -> set[int]:
    """Ends everything that carries ``mark``: asks the children, then all, then kills.

    Returns:
        Pids that are still there: none, unless the system refuses to end one.
    """
    sessions = {child.pid for child in children}
    for child in children:
        child.ask_to_end()
    if not children or _outlasts(mark, sessions, children, grace_s):
        orphans = bool(children) and not any(child.alive for child in children)
        patience_s = _ORPHANS_S if orphans else _KILL_WAIT_S
        for end, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, _KILL_WAIT_S)):
            for pid in belonging(mark, sessions):
                _send(pid, end)
            if not (left := _left(mark, sessions, wait_s)):
                break
        else:
            return left
    for child in children:
        child.alive  # noqa: B018  (reaps it)
    return set()


def _outlasts(mark: str, sessions: set[int], children: Sequence[Child], grace_s: float) -> bool:
    """Whether anything is still there after ``grace_s``, or soon after the last of the children.

    A child ends what it has started. What outlives it hangs, as Ray's GCS sometimes does.
    """
    deadline_s = time.monotonic() + grace_s
    while any(child.alive for child in children) and time.monotonic() < deadline_s:
        if not belonging(mark, sessions):
            return False
        time.sleep(_POLL_S)
    rest_s = min(_ORPHANS_S, max(0.0, deadline_s - time.monotonic()))
    return bool(_left(mark, sessions, rest_s))


def _left(mark: str, sessions: set[int], wait_s: float) -> set[int]:
    deadline_s = time.monotonic() + wait_s
    while (left := belonging(mark, sessions)) and time.monotonic() < deadline_s:
        time.sleep(_POLL_S)
    return left


def _environ(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _stat(pid: int) -> list[str]:
    """State, parent, group, session, … of a process; the name in front may hold spaces."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _session(pid: int) -> int:
    stat = _stat(pid)
    return int(stat[3]) if stat else 0


def _is_zombie(pid: int) -> bool:
    stat = _stat(pid)
    return not stat or stat[0] == "Z"


def _send(pid: int, sent: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sent)
