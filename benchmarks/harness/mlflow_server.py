"""MLflow's own server in a process of its own, as the registry of a stack."""

import os
import signal
import sys
from pathlib import Path

import httpx

from benchmarks.harness.servers import Server
from operations.local_stack.ports import free_port


class MlflowServer(Server):
    """A real MLflow server on a free port, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ]
        environ = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        super().__init__(
            command, folder / "mlflow.log", self._answers, environ=environ, start_wait_s=120.0
        )

    def stop(self) -> None:
        """Asks it and its workers to end; returns when it has."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(60)
            self._process = None

    def signal(self, sent: signal.Signals) -> None:
        """Signals it and its workers; held, it takes connections and answers nothing."""
        assert self._process is not None
        os.killpg(self._process.pid, sent)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5).is_success
        except httpx.HTTPError:
            return False
