"""The program that watches Ray's processes, with others in their place."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations.local_stack import ray_head

NAMES = ("raylet/raylet", "gcs/gcs_server", "other")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, int]]]:
    """The running program, and the pids of what it has started."""
    lines = []
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to("/bin/sleep")
        lines.append(f"{tmp_path / name} 60 & pid=$!; echo {name} $pid")
        # Until it is the program, it is still the shell.
        lines.append(f"until grep -q {name} /proc/$pid/cmdline; do :; done")
    script = tmp_path / "start.sh"
    script.write_text("\n".join(lines))
    command = [sys.executable, "-I", "-S", ray_head.__file__, "/bin/sh", str(script)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as program:
        assert program.stdout is not None
        pids = dict(program.stdout.readline().split() for _ in NAMES)
        found = {name: int(pid) for name, pid in pids.items()}
        yield program, found
        for pid in found.values():
            if ray_head.alive(pid):
                os.kill(pid, signal.SIGKILL)


def watches(program: subprocess.Popen[str]) -> None:
    """Returns once it has taken SIGTERM over, after the start."""
    until_s = time.monotonic() + 20
    status = Path(f"/proc/{program.pid}/status")
    caught = 0
    while not caught & 1 << (signal.SIGTERM - 1):
        assert time.monotonic() < until_s
        assert program.poll() is None
        time.sleep(0.02)
        line = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt"))
        caught = int(line.split()[1], 16)


@pytest.mark.parametrize("name", ["raylet/raylet", "gcs/gcs_server"])
def test_it_ends_when_one_of_rays_processes_does(
    started: tuple[subprocess.Popen[str], dict[str, int]], name: str
) -> None:
    program, pids = started
    watches(program)
    os.kill(pids[name], signal.SIGKILL)
    assert program.wait(20) == 1


def test_it_ends_all_of_the_session_on_sigterm(
    started: tuple[subprocess.Popen[str], dict[str, int]],
) -> None:
    program, pids = started
    watches(program)
    program.terminate()
    assert program.wait(20) == 0
    until_s = time.monotonic() + 10
    while any(map(ray_head.alive, pids.values())):
        assert time.monotonic() < until_s
        time.sleep(0.02)


def test_a_node_that_does_not_start_is_told() -> None:
    assert ray_head.main([sys.executable, "-c", "raise SystemExit(3)"]) == 3
    assert ray_head.main([sys.executable, "-c", ""]) == 1
