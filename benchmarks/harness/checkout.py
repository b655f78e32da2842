"""The server of another checkout of this repository, beside the present one's."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from benchmarks.harness.output import say
from operations.local_stack.ports import free_port
from operations.local_stack.processes import MARK

_START_S = 300.0
_STOP_S = 60.0


@dataclass(frozen=True, slots=True)
class Served:
    """A running server.

    Attributes:
        name: In tables.
        url: Of its application.
        mark: What the environment of its processes says.
    """

    name: str
    url: str
    mark: str


@contextmanager
def other_checkout(checkout: Path, folder: Path, topology: str) -> Iterator[Served]:
    """``sentigraph serve`` of ``checkout``, by its ``.venv``, on free ports, until the block ends.

    Args:
        checkout: A working tree with the environment that ``make .venv/.serve`` makes.
        folder: For its state and its configuration.
        topology: Of its ``serve_config.yaml``, whose other settings stay.

    Raises:
        RuntimeError: It did not start; its output is in ``folder``.
    """
    content = yaml.safe_load((checkout / "serve_config.yaml").read_text(encoding="utf-8"))
    content["applications"][0]["args"]["topology"] = topology
    config, output = folder / "other.yaml", folder / "other.log"
    config.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    port, grpc, mlflow, dashboard = (str(free_port()) for _ in range(4))
    package = "cli" if (checkout / "cli").is_dir() else "pipelines"
    command = [str(checkout / ".venv" / "bin" / "python"), "-m", package, "serve"]
    command += ["--config", str(config), "--state-dir", str(folder / "other"), "--port", port]
    command += ["--grpc-port", grpc, "--mlflow-port", mlflow, "--dashboard-port", dashboard]
    say(f"starting {checkout}")
    with (
        output.open("wb") as log,
        subprocess.Popen(command, cwd=checkout, stdout=log, stderr=log) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(url, process, output)
            yield Served(str(checkout), url, _mark_below(process.pid))
        finally:
            process.terminate()
            process.wait(_STOP_S)


def _wait_for(url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    until_s = time.monotonic() + _START_S
    while True:
        try:
            if httpx.get(f"{url}/api/v1/ready", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.monotonic() > until_s:
            raise RuntimeError(f"it did not start:\n{output.read_text()[-2_000:]}")
        time.sleep(0.5)


def _mark_below(parent: int) -> str:
    """The mark of the stack that a process started."""
    wanted = f"{MARK}=".encode()
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        for variable in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            if variable.startswith(wanted):
                return os.fsdecode(variable.removeprefix(wanted))
    raise RuntimeError("its processes carry no mark")
