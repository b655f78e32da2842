"""What a user's type checker sees: plain values of the sync client, awaited ones of the async."""

import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = """
from pathlib import Path
from typing import assert_type

from sentigraph_client import AsyncClient, Client
from sentigraph_client._models import JobStatus, ModelBody, Prediction, VersionBody

client = Client()
assert_type(client.predict("a", deadline_s=1), Prediction)
assert_type(client.jobs.wait("j"), JobStatus)
assert_type(client.versions.latest("m"), VersionBody | None)
assert_type(client.jobs.download("j", "file"), Path)


async def ask(client: AsyncClient) -> None:
    assert_type(await client.predict("a"), Prediction)
    assert_type(await client.models.list(), list[ModelBody])


client.predict(3)  # not a text
client.predict("a", deadline_ms=3)  # no such argument
"""


@pytest.mark.slow
def test_methods_are_typed_for_both_clients(tmp_path: Path) -> None:
    (tmp_path / "sample.py").write_text(SAMPLE, encoding="utf-8")
    sdk = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "sample.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(sdk), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if "error" in line and "Found" not in line]
    assert len(lines) == 2, done.stdout + done.stderr
    assert "arg-type" in lines[0]
    assert "call-arg" in lines[1]
