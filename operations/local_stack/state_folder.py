"""The folder that a stack keeps its state in, and the claim that one process has on it.

It holds the registry's file, artifacts, bundles, logs, and a note of the running process. The
claim is a file lock, so it ends with its process.
"""

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from operations.errors import StackError


@dataclass(frozen=True, slots=True)
class Running:
    """The process that runs in a state folder.

    Attributes:
        pid: The process that holds the claim.
        url: Where the application answers.
        mark: What its child processes carry.
        dashboard_url: Where its Ray dashboard answers.
        mlflow_url: Where its MLflow server answers; empty where it starts none.
    """

    pid: int
    url: str
    mark: str
    dashboard_url: str = ""
    mlflow_url: str = ""


class StateFolder:
    """Made if missing, by the first use of ``claim``."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self.monitoring = self.path / "monitoring"
        self.serve_config = self.path / "serve_config.yaml"
        self._note = self.path / "running.json"
        self._unfinished = self.path / "unfinished"

    @contextmanager
    def claim(
        self, url: str, dashboard_url: str = "", mlflow_url: str = "", *, whole: bool = True
    ) -> Iterator[tuple[str, Running | None]]:
        """Holds the folder for this process.

        Args:
            url: Where the application will answer.
            dashboard_url: Where its Ray dashboard will.
            mlflow_url: Where its MLflow server will.
            whole: Refuse a folder that a command left half-changed.

        Yields:
            A new mark for child processes, and the note of a process that died without
            taking its children along, if there is one.

        Raises:
            StackError: Another live process holds it, it cannot be written, or is not whole.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Texts, results and keys of all callers: also of a folder that was made before.
            self.path.chmod(0o700)
            self.logs.mkdir(exist_ok=True)
            lock = (self.path / "running.lock").open("a")
        except OSError as error:
            raise StackError(
                f"the state folder {self.path} cannot be used: {error.strerror or error}"
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StackError(self._occupied()) from error
            if whole and self._unfinished.exists():
                command = self._unfinished.read_text(encoding="utf-8", errors="replace")
                raise StackError(f"`{command}` was interrupted in {self.path}: run it again")
            previous = self._read()
            mine = Running(os.getpid(), url, secrets.token_hex(8), dashboard_url, mlflow_url)
            self._note.write_text(json.dumps(asdict(mine)), encoding="utf-8")
            yield mine.mark, previous
            self._note.unlink(missing_ok=True)

    @contextmanager
    def changing(self, command: str) -> Iterator[None]:
        """Within, the folder is half of what it was; it says so until the block has ended well.

        Args:
            command: What ends it when it is run again.
        """
        self._unfinished.write_text(command, encoding="utf-8")
        yield
        self._unfinished.unlink()

    def token_file(self, name: str = "ray-token") -> Path:
        """A file with a random token that only this user can read; made on the first call."""
        file = self.path / name
        if not file.exists():
            fresh = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fresh, "w") as stream:
                stream.write(secrets.token_hex(32))
        return file

    def private_file(self, name: str, content: str) -> Path:
        """A file that only this user can read, with this content."""
        file = self.path / name
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            stream.write(content)
        return file

    @contextmanager
    def private_folder(self, name: str, files: Mapping[str, str]) -> Iterator[Path]:
        """A folder that only this user can read, with these files and no other; gone at the end."""
        folder = self.path / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        for file, content in files.items():
            self.private_file(f"{name}/{file}", content)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def running(self) -> Running | None:
        """The process that holds the folder; None where none does."""
        found = self._read()
        return found if found and Path(f"/proc/{found.pid}").exists() else None

    def running_token(self) -> Path | None:
        """The token's file of the stack that runs here; None where none does."""
        file = self.path / "ray-token"
        return file if self.running() and file.is_file() else None

    def _occupied(self) -> str:
        running = self._read()
        who = f" (pid {running.pid}, {running.url})" if running else ""
        return (
            f"sentigraph is already running here{who}: use it, or stop it with Ctrl-C "
            f"in its terminal{f' or kill {running.pid}' if running else ''}"
        )

    def _read(self) -> Running | None:
        try:
            return Running(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
