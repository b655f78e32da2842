"""README's commands for a cluster, run as they stand: a Ray of their own, with a token and without.

Only ports, the home folder and Ray's temporary folder are others, because this machine may have a
Ray already. Each time the graph must become healthy by `sentigraph status` and answer a text.
`python -m tests.system.cluster_commands`, some minutes; exit status 1 when one of them fails.
"""

import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import yaml

from benchmarks.harness.output import say
from operations.local_stack.ports import free_port
from operations.local_stack.processes import MARK, end_all

ROOT = Path(__file__).parents[2]
_READY_S = 600
_BLOCK = re.compile(r"as in: tests/system/cluster_commands.py -->\n```sh\n(.*?)^```", re.M | re.S)
_OURS = ("RAY_", "MLOPS_", "SENTIGRAPH_")


def commands(folder: Path, *, token: bool) -> tuple[str, str]:
    """README's block with addresses of its own, and where the server will answer."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    config["http_options"]["port"], config["grpc_options"]["port"] = free_port(), free_port()
    file = folder / "serve_config.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    dashboard, url = free_port(), f"http://127.0.0.1:{config['http_options']['port']}"
    found = _BLOCK.search((ROOT / "README.md").read_text(encoding="utf-8"))
    if found is None:
        raise AssertionError("README has no block of these commands")
    block = found[1]
    ports = f"--port {free_port()} --dashboard-port {dashboard} --temp-dir {folder}/ray"
    ports += f" --ray-client-server-port {free_port()}"
    ports += " --min-worker-port 21000 --max-worker-port 21999"
    asked = f"--url {url} --dashboard-url http://127.0.0.1:{dashboard}"
    for old, new in {
        "ray start --head": f"ray start --head {ports}",
        "serve deploy serve_config.yaml": f"serve deploy -a http://127.0.0.1:{dashboard} {file}",
        "sentigraph status": f"until sentigraph status {asked}; do sleep 2; done",
        "http://mlflow.example:5000": f"sqlite:///{folder}/mlflow.db",
    }.items():
        if block.count(old) != 1:
            raise AssertionError(f"README's commands have no {old!r}")
        block = block.replace(old, new)
    if not token:
        block = "\n".join(line for line in block.splitlines() if "get-auth-token" not in line)
        block = block.replace(" RAY_AUTH_MODE=token", "")
    return f"set -e\n{block}\n", url


def run(*, token: bool) -> None:
    """Runs the commands and asks the server; raises what goes wrong."""
    mark = secrets.token_hex(8)
    with tempfile.TemporaryDirectory(prefix="sentigraph-") as name:
        folder = Path(name)
        script, url = commands(folder, token=token)
        environ = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
        environ |= {"HOME": name, MARK: mark, "MLOPS_REGISTRY__ARTIFACT_ROOT": f"{name}/artifacts"}
        try:
            subprocess.run(
                ["bash", "-c", script],
                cwd=ROOT,
                env=environ,
                timeout=_READY_S,
                check=True,
                start_new_session=True,
            )
            text = {"text": "The delivery was late, but support was wonderful."}
            answer = httpx.post(f"{url}/api/v1/predict", json=text, timeout=30)
            answer.raise_for_status()
            say(f"{'with' if token else 'without'} a token: {answer.json()['label']}")
        finally:
            end_all(mark, [], 5)


def main() -> int:
    """Both ways, one after the other; returns the exit status."""
    failed = 0
    for token in (True, False):
        started_s = time.monotonic()
        try:
            run(token=token)
        except (AssertionError, OSError, subprocess.SubprocessError, httpx.HTTPError) as error:
            failed += 1
            say(f"{'with' if token else 'without'} a token: {type(error).__name__}: {error}")
        say(f"{time.monotonic() - started_s:.0f} s")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
