"""A short-named folder for Ray's and HAProxy's sockets, and where their logs end up.

Unix socket paths end at 107 bytes and Ray puts 75 below its folder, so the folder cannot be
in the state folder, wherever a user has that.
"""

import hashlib
import os
import shutil
from pathlib import Path

from operations.errors import StackError


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

    def make(self) -> None:
        """Makes it empty.

        Raises:
            StackError: It belongs to another user, or cannot be made.
        """
        shutil.rmtree(self.path, ignore_errors=True)
        try:
            self.path.mkdir(mode=0o700)
        except OSError as error:
            raise StackError(f"{self.path} cannot be made: {error.strerror}") from error

    def show_logs(self, link: Path) -> None:
        """Makes ``link`` lead to Ray's logs."""
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)
        link.unlink(missing_ok=True)
        link.symlink_to(self.logs)

    def remove(self, link: Path) -> None:
        """Removes the folder; ``link`` becomes a copy of the logs."""
        if self.logs.is_dir():
            self.show_logs(link)
            link.unlink()
            shutil.copytree(self.logs, link, symlinks=True)
        shutil.rmtree(self.path, ignore_errors=True)
