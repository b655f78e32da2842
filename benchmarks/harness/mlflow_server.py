"""MLflow's own server in a process of its own, as the registry of a stack."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from operations.local_stack.ports import free_port


class MlflowServer:
    """A real MLflow server on a free port, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
                *("--host", "127.0.0.1", "--port", str(self._port)),
                *("--backend-store-uri", f"sqlite:///{self._folder / 'mlflow.db'}"),
                *("--artifacts-destination", str(self._folder / "artifacts")),
            ],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )
        ends_s = time.monotonic() + 120
        while time.monotonic() < ends_s:
            try:
                httpx.get(f"{self.url}/health", timeout=5).raise_for_status()
            except httpx.HTTPError:
                time.sleep(0.5)
            else:
                return
        raise TimeoutError("MLflow does not answer")

    def stop(self) -> None:
        """Ends it and its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(60)
            self._process = None

    def freeze(self) -> None:
        """It takes connections and answers nothing, until it is thawed."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it was."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)
