"""A server under test: started, found ready, watched and ended.

Peers run as ``benchmarks/peers/<folder>/<script>`` in their own environment, ours as the local
stack that ``make serve`` starts. All processes are found by the mark in their environment or by
their session, so nothing of a server escapes its bill, and nothing else is ever ended.
"""

import http.client
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.comparison.catalogue import Peer, Setting
from benchmarks.comparison.environments import PEERS_DIR, ensure, library_path
from benchmarks.comparison.errors import ServerFailed
from benchmarks.comparison.wire import Answer, Wire
from benchmarks.harness.stack import private_stack
from operations.errors import StackError
from operations.local_stack.ports import free_block
from operations.local_stack.processes import MARK, Child, belonging, end_all
from registry.errors import RegistryError

_BOOT_WAIT_S = 120.0
_ANSWER_WAIT_S = 30.0
_END_WAIT_S = 5.0
_POLL_S = 0.1


@dataclass(slots=True)
class RunningServer:
    """A running server.

    Attributes:
        wire: How it is spoken to.
        port: On 127.0.0.1.
        mark: Found in the environment of its processes.
        boot_s: From the start of its first process to its first answer.
    """

    wire: Wire
    port: int
    mark: str
    boot_s: float
    _sessions: set[int] = field(default_factory=set)

    def pids(self) -> set[int]:
        """All its processes."""
        return belonging(self.mark, self._sessions)

    def ask(self, text: str, wait_s: float = _ANSWER_WAIT_S) -> Answer:
        """The answer to one text.

        Raises:
            ServerFailed: It gave none in time, or not one of its format.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=wait_s)
        headers = {"Content-Type": "application/json", **self.wire.headers}
        try:
            connection.request("POST", self.wire.path, self.wire.encode(text).encode(), headers)
            response = connection.getresponse()
            body = response.read().decode(errors="replace")
            if response.status != 200:
                raise ServerFailed(f"status {response.status}: {body[:200]}")
            return self.wire.decode(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ServerFailed(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()


@contextmanager
def running(peer: Peer, setting: Setting, bundle: Path, *, cores: int) -> Iterator[RunningServer]:
    """Starts a server, yields it once it answers, and ends all of it.

    Raises:
        ServerFailed: It cannot be started.
        NotInstallable: Its environment cannot be made.
    """
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        start = _ours if peer.is_ours else _peer
        with start(peer, setting, bundle, cores, Path(folder)) as server:
            yield server


@contextmanager
def _peer(
    peer: Peer, setting: Setting, bundle: Path, cores: int, folder: Path
) -> Iterator[RunningServer]:
    python = ensure(peer.folder)
    port, mark = free_block().base, f"bench-{uuid.uuid4().hex}"
    # Paths only, of the caller's environment: what else is set there is not part of the setting.
    environ = {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        "PATH": os.pathsep.join([str(python.parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join([str(PEERS_DIR), str(PEERS_DIR / peer.folder)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LD_LIBRARY_PATH": library_path(python),
        "BENTOML_DO_NOT_TRACK": "True",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
        "BENCH_BUNDLE": str(bundle),
        "BENCH_PORT": str(port),
        "BENCH_MAX_BATCH": str(setting.max_batch),
        "BENCH_WAIT_MS": str(setting.wait_ms or 0.0),
        "BENCH_WORKERS": str(setting.workers),
        "BENCH_THREADS": str(max(1, cores // setting.workers)),
        "BENCH_CONCURRENCY": str(setting.concurrency),
        MARK: mark,
    }
    command = [str(python), str(PEERS_DIR / peer.folder / peer.script)]
    started_s = time.monotonic()
    child = Child(command, log=folder / "server.log", cwd=folder, environ=environ)
    server = RunningServer(peer.wire, port, mark, 0.0, {child.pid})
    try:
        _wait_for_answer(server, child, started_s + _BOOT_WAIT_S)
        server.boot_s = round(time.monotonic() - started_s, 2)
        yield server
    finally:
        end_all(mark, [child], _END_WAIT_S)


@contextmanager
def _ours(
    peer: Peer, setting: Setting, bundle: Path, cores: int, folder: Path
) -> Iterator[RunningServer]:
    environ = {
        "MLOPS_TOPOLOGY": peer.topology,
        "MLOPS_REGISTRY__BUNDLED_MODEL_DIR": str(bundle),
    }
    started_s = time.monotonic()
    try:
        with private_stack(folder, **environ) as stack:
            port = urlsplit(stack.url).port
            assert port is not None
            server = RunningServer(peer.wire, port, stack.environ[MARK], 0.0)
            server.ask("ready")
            server.boot_s = round(time.monotonic() - started_s, 2)
            yield server
    except (StackError, RegistryError) as error:
        raise ServerFailed(str(error)) from error


def _wait_for_answer(server: RunningServer, child: Child, deadline_s: float) -> None:
    while True:
        try:
            server.ask("ready")
            return
        except ServerFailed as error:
            if not child.alive:
                raise ServerFailed(f"it ended at start: {_last_words(child.log)}") from error
            if time.monotonic() > deadline_s:
                said = _last_words(child.log)
                raise ServerFailed(f"no answer in {_BOOT_WAIT_S:g} s; it said: {said}") from error
        time.sleep(_POLL_S)


def _last_words(log: Path) -> str:
    return " ".join(log.read_text(encoding="utf-8", errors="replace").split())[-300:]
