"""Starts a Ray head node and stays as long as it does, in 10 MB.

``ray start --block`` keeps the 120 MB of imports with which it started the node. So the node is
started without blocking, and this program, which imports next to nothing, watches Ray's two main
processes. It ends when one of them does; on SIGTERM it ends the raylet, then all of the session.
It is run by its path, with ``-I -S``, followed by the command that starts the node.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_WATCHED = (b"/raylet/raylet", b"/gcs/gcs_server")
_POLL_S = 0.5
_RAYLET_ENDS_S = 5.0


def session() -> dict[int, bytes]:
    """Pid and program of every other process of this session."""
    pids = {}
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        with contextlib.suppress(OSError):  # it may have ended
            if pid != os.getpid() and os.getsid(pid) == os.getsid(0):
                pids[pid] = (entry / "cmdline").read_bytes().partition(b"\0")[0]
    return pids


def end(raylet: int) -> None:
    """Ends the raylet, which ends its workers; then what is left."""
    send(raylet)
    until_s = time.monotonic() + _RAYLET_ENDS_S
    while alive(raylet) and time.monotonic() < until_s:
        time.sleep(0.05)
    for pid in session():
        send(pid)


def send(pid: int) -> None:
    """Sends SIGTERM, if the process is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def main(command: list[str]) -> int:
    """Runs ``command``, then watches; 1 when Ray ended by itself."""
    if status := subprocess.run(command, check=False).returncode:  # noqa: S603  (our own)
        return status
    programs = session()
    pids = {
        name: pid
        for pid, program in programs.items()
        for name in _WATCHED
        if program.endswith(name)
    }
    if len(pids) < len(_WATCHED):
        print("Ray's processes are not there", flush=True)
        return 1
    asked = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    while all(map(alive, pids.values())):
        if asked:
            end(pids[_WATCHED[0]])
            return 0
        time.sleep(_POLL_S)
    gone = [name.decode() for name, pid in pids.items() if not alive(pid)]
    print(f"{' and '.join(gone)} ended", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
