"""The port stays open whatever happens to HAProxy or to the actor that manages it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from operations.front.haproxy import find_binary
from operations.front.processes import Process
from operations.front.settings import write_program
from operations.front.watchdog import Record
from tests.operations.front.rendered import Render, Rendered

ROOT = Path(__file__).parents[3]
# Starts the program as Ray's actor does, under a parent that stands for the raylet.
NODE = """
import subprocess, sys, time
manager = "import subprocess, sys; subprocess.Popen(sys.argv[1:]); sys.stdin.read()"
subprocess.Popen([sys.executable, "-c", manager, *sys.argv[1:]], stdin=subprocess.PIPE)
sys.stdin.read()
"""
WAIT_S = 15.0


class Node:
    """A node whose Ray has started HAProxy."""

    def __init__(self, rendered: Rendered) -> None:
        self.rendered = rendered
        self.record = Record(rendered.path.parent)
        self._program = rendered.path.parent / "sentigraph-haproxy"
        write_program(self._program)
        self.raylet = self.manage()

    def manage(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Starts a manager that starts HAProxy."""
        command = [str(self._program), "-db", "-f", str(self.rendered.path), "-dR", *arguments]
        with (self.rendered.path.parent / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", NODE, *command],
                stdin=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )

    def status(self) -> int:
        """Of a prediction over a new connection; 0 if there is none."""
        with contextlib.suppress(httpx.TransportError):
            return httpx.post(f"{self.rendered.url}/api/v1/predict", timeout=2).status_code
        return 0

    def until(self, wanted: int) -> float:
        """Seconds until the answer has this status."""
        began = time.monotonic()
        while (status := self.status()) != wanted:
            log = (self.rendered.path.parent / "log").read_text()
            assert time.monotonic() < began + WAIT_S, f"{status}: {log}"
            time.sleep(0.02)
        return time.monotonic() - began


@pytest.fixture(params=["0.0.0.0", "127.0.0.1"])
def host(request: pytest.FixtureRequest) -> str:
    """Where it listens; on the loopback its statistics do as well."""
    return str(request.param)


@pytest.fixture
def node(render: Render, server: int, host: str) -> Iterator[Node]:
    node = Node(render(server, host=host))
    started = [node.raylet]
    try:
        node.until(200)
        yield node
    finally:
        serving = node.record.read()
        for process in started:
            process.communicate()
        if serving is not None:
            serving.manager.send(signal.SIGKILL)
        # The watchdog ends HAProxy when the raylet has gone.
        deadline = time.monotonic() + WAIT_S
        while (last := node.record.read()) and last.process.alive:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_haproxy_is_started_again_at_once(node: Node, sent):
    before = node.record.read()
    assert before is not None
    before.process.send(sent)
    while before.process.alive and not before.process.stopped:
        time.sleep(0.01)
    assert node.until(200) < WAIT_S
    after = node.record.read()
    assert after is not None
    assert after.process != before.process
    # Not at the socket where Ray asks: it sees that its HAProxy has gone.
    assert after.socket != before.socket


def test_a_lost_manager_takes_nothing_along_and_the_next_one_keeps_the_routes(
    node: Node, render: Render, host: str
):
    before = node.record.read()
    assert before is not None
    before.manager.send(signal.SIGKILL)
    assert node.status() == 200
    # Ray renders anew for the next one: no routes yet, the same ports.
    content = node.rendered.path.read_text()
    empty = render(None, port=node.rendered.port, host=host).path
    ports = [line for line in content.splitlines() if line.strip().startswith("bind ")]
    fresh = iter(ports)
    lines = [
        next(fresh) if line.strip().startswith("bind ") else line
        for line in empty.read_text().splitlines()
    ]
    empty.write_text("\n".join([*lines, ""]))
    second = node.manage()
    try:
        deadline = time.monotonic() + WAIT_S
        statuses = set()
        while (now := node.record.read()) is None or now.process == before.process:
            statuses.add(node.status())
            assert time.monotonic() < deadline
        while before.process.alive:
            statuses.add(node.status())
            assert time.monotonic() < deadline
        assert statuses <= {200}
        assert node.status() == 200
        assert now.manager != before.manager
    finally:
        second.communicate()


def test_an_unknown_configuration_is_refused_with_a_sentence(tmp_path, render: Render):
    rendered = render(1)
    rendered.path.write_text("global\n")
    program = tmp_path / "bin" / "sentigraph-haproxy"
    write_program(program)
    ended = subprocess.run(
        [str(program), "-db", "-f", str(rendered.path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert ended.returncode == 1
    assert "times in Ray's HAProxy configuration, not once" in ended.stderr


def test_without_a_configuration_it_is_haproxy(tmp_path):
    write_program(tmp_path / "program")
    command = [str(tmp_path / "program"), "-v"]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    ours = subprocess.run(command, capture_output=True, env=environ, check=True).stdout
    assert ours == subprocess.run([find_binary(), "-v"], capture_output=True, check=True).stdout


def test_a_pid_that_is_anothers_is_not_alive():
    me = Process.of(os.getpid())
    assert me.alive
    assert me.parent() == Process.of(os.getppid())
    assert not Process(me.pid, me.started - 1).alive
    assert not Process.of(2**22 + 1).alive
