"""A real Prometheus beside a local stack, with the configuration that the stack wrote."""

import shutil
from pathlib import Path
from typing import Any

import httpx

from benchmarks.harness.servers import Server
from operations.local_stack.ports import free_port

PROGRAM = shutil.which("prometheus")


class Prometheus(Server):
    """On a free loopback port, its data in ``folder``; asked by HTTP as Grafana does."""

    def __init__(self, config: Path, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._client = httpx.Client(base_url=f"{self.url}/api/v1", timeout=30)
        command = [PROGRAM or "prometheus", f"--config.file={config}"]
        command += [f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address={self.url[7:]}"]
        super().__init__(command, folder / "prometheus.log", self._is_ready)

    def stop(self) -> None:
        """Kills it; what it stored lies in the folder until that is removed."""
        self._client.close()
        super().stop()

    def names(self) -> set[str]:
        """Every series name that was ever scraped or recorded."""
        return set(self._ask("/label/__name__/values"))

    def last(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector: ``metric`` and ``value`` of each series."""
        return list(self._ask("/query", query=expression)["result"])

    def over(self, expression: str, start_s: float, end_s: float, step_s: int) -> list[Any]:
        """The matrix: ``metric`` and ``values`` of each series."""
        span = {"start": str(start_s), "end": str(end_s), "step": str(step_s)}
        return list(self._ask("/query_range", query=expression, **span)["result"])

    def _ask(self, path: str, **parameters: str) -> Any:
        answer = self._client.get(path, params=parameters)
        content = answer.json()
        assert content["status"] == "success", content.get("error")
        return content["data"]

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False
