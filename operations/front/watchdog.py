"""Starts HAProxy again at once when it died or is stopped; ends it when Ray has gone.

The new one listens at an admin socket of its own. So Ray finds its HAProxy unhealthy, replaces
the actor that manages it, and that one takes over from the new one without a gap.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from operations.front.overrides import with_admin_socket
from operations.front.processes import Process

KEPT = "front.cfg"
_RECORD, _LOCK, _GUARD = "front.json", "front.lock", "front.guard"
_STAND_IN, _STAND_IN_SOCKET = "front-stand-in.cfg", "front.sock"
_LOOK_S = 0.25
_SLOWEST_S = 5.0
# Ray replaces a lost manager within seconds; without one the routes grow old.
_UNMANAGED_S = 60.0


@dataclass(frozen=True, slots=True)
class Serving:
    """The HAProxy that listens.

    Attributes:
        process: It.
        socket: Its admin socket.
        manager: Ray's actor that started it, or the one before it.
        raylet: The manager's parent.
    """

    process: Process
    socket: str
    manager: Process
    raylet: Process


class Record:
    """The ``Serving`` of a folder, shared by the watchdog and the programs that Ray starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else reads and writes it within; ends with the process at the latest."""
        with (self.folder / _LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def read(self) -> Serving | None:
        """What was written last; None before that."""
        try:
            content = json.loads((self.folder / _RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        names = ("process", "manager", "raylet")
        processes = {name: Process(**content[name]) for name in names}
        return Serving(socket=content["socket"], **processes)

    def write(self, serving: Serving) -> None:
        """Replaces it."""
        new = self.folder / f"{_RECORD}.new"
        new.write_text(json.dumps(asdict(serving)), encoding="utf-8")
        new.replace(self.folder / _RECORD)


def begin(folder: Path, command: list[str]) -> None:
    """Starts the folder's watchdog, in a process of its own, unless it has one.

    Args:
        folder: Of the record.
        command: HAProxy's, without its configuration.
    """
    guard = os.open(folder / _GUARD, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(guard)
        return
    # Forked twice: it is no child of HAProxy, which would never ask how it ended. The lock stays
    # with the grandchild, for its descriptor is closed here when HAProxy replaces this program.
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork() == 0:
        with contextlib.suppress(KeyboardInterrupt):
            Watchdog(Record(folder), command).run()
    os._exit(0)


class Watchdog:
    """Watches one folder's HAProxy until Ray's manager of it has gone for good."""

    def __init__(self, record: Record, command: list[str]) -> None:
        self._record = record
        self._command = command
        self._stand_in: subprocess.Popen[bytes] | None = None
        self._failures = 0

    def run(self) -> None:
        """Returns when HAProxy was ended because Ray has gone."""
        managed_s = time.monotonic()
        while (serving := self._record.read()) is not None:
            now = time.monotonic()
            if serving.manager.alive:
                managed_s = now
            if not serving.raylet.alive or now - managed_s > _UNMANAGED_S:
                serving.process.send(signal.SIGTERM)
                return
            self._look(serving)
            time.sleep(min(_LOOK_S * 2**self._failures, _SLOWEST_S))

    def _look(self, serving: Serving) -> None:
        if self._stand_in is not None:
            self._stand_in.poll()  # reaps it
        if serving.process.stopped:
            _say(f"HAProxy {serving.process.pid} is stopped; ending it")
            serving.process.send(signal.SIGKILL)
            while serving.process.alive:
                time.sleep(0.01)
        if serving.process.alive:
            self._failures = 0
            return
        with self._record.locked():
            if self._record.read() == serving:
                self._start(serving)
                self._failures += 1

    def _start(self, serving: Serving) -> None:
        folder = self._record.folder
        config, socket = folder / _STAND_IN, str(folder / _STAND_IN_SOCKET)
        kept = (folder / KEPT).read_text(encoding="utf-8")
        write_private(config, with_admin_socket(kept, socket))
        self._stand_in = subprocess.Popen(  # noqa: S603  (HAProxy's own command line)
            [*self._command, "-f", str(config)], stdin=subprocess.DEVNULL
        )
        started = Process.of(self._stand_in.pid)
        self._record.write(Serving(started, socket, serving.manager, serving.raylet))
        _say(f"HAProxy {serving.process.pid} has gone; {started.pid} stands in")


def write_private(file: Path, content: str) -> None:
    """Writes what only this user may read."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(content)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
