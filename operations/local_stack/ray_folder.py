"""A short-named folder for Ray's and HAProxy's sockets, and where their logs end up.

Unix socket paths end at 107 bytes and Ray puts 75 below its folder, so the folder cannot be
in the state folder, wherever a user has that.
"""

import hashlib
import os
import shutil
import time
from pathlib import Path

from operations.errors import StackError

_RUNS = 5
_MOST_BYTES = 500_000_000


class RayFolder:
    """The folder of one state folder; the same name at every start.

    Attributes:
        path: HAProxy's files.
        temp_dir: Ray's own folder in it.
    """

    def __init__(self, state: Path) -> None:
        digest = hashlib.sha256(f"{os.getuid()} {state}".encode()).hexdigest()
        self.path = Path("/tmp") / f"sg-{digest[:10]}"  # noqa: S108 (made with mode 0700) # nosec
        self.temp_dir = self.path / "r"

    @property
    def logs(self) -> Path:
        """Ray's logs while it runs."""
        return self.temp_dir / "session_latest" / "logs"

    def make(self, link: Path) -> None:
        """Makes it empty; logs that a killed run left in it are kept like others.

        Raises:
            StackError: It belongs to another user, or cannot be made.
        """
        if self.logs.is_dir() and self.path.stat().st_uid == os.getuid():
            self.remove(link)
        shutil.rmtree(self.path, ignore_errors=True)
        try:
            self.path.mkdir(mode=0o700)
        except OSError as error:
            raise StackError(f"{self.path} cannot be made: {error.strerror}") from error

    def show_logs(self, link: Path) -> None:
        """Makes ``link`` lead to Ray's logs; those of the run before go to ``link-TIME``."""
        keep_earlier(link)
        link.unlink(missing_ok=True)
        link.symlink_to(self.logs)

    def remove(self, link: Path) -> None:
        """Removes the folder; ``link`` becomes a copy of the logs."""
        if self.logs.is_dir():
            keep_earlier(link)
            link.unlink(missing_ok=True)
            shutil.copytree(self.logs, link, symlinks=True)
        shutil.rmtree(self.path, ignore_errors=True)


def keep_earlier(logs: Path) -> None:
    """Gives a run's folder of logs the time of its end as a name, and removes the oldest runs.

    The latest ``_RUNS`` are kept, as far as they take no more than ``_MOST_BYTES`` together.
    """
    if logs.is_dir() and not logs.is_symlink():
        ended = time.strftime("%Y%m%dT%H%M%S", time.gmtime(_last_write_s(logs)))
        target = logs.with_name(f"{logs.name}-{ended}")
        shutil.rmtree(target, ignore_errors=True)
        logs.rename(target)
    kept = 0
    earlier = sorted(logs.parent.glob(f"{logs.name}-2*T*"), reverse=True)
    for number, folder in enumerate(earlier):
        kept += sum(f.lstat().st_size for f in folder.rglob("*") if f.is_file())
        if number >= _RUNS or (number and kept > _MOST_BYTES):
            shutil.rmtree(folder, ignore_errors=True)


def _last_write_s(folder: Path) -> float:
    """When the last file in it was written; of an empty one, when it was made."""
    times = [f.lstat().st_mtime for f in folder.rglob("*") if not f.is_dir()]
    return max(times, default=folder.stat().st_mtime)
