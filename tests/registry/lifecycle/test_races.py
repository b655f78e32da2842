"""Real processes that race and that are killed; the benchmark's own numbers are larger."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_racing_and_killed_promotions_leave_one_champion(tmp_path: Path) -> None:
    few = ["--stores", "sqlite", "--races", "5", "--kills", "5"]
    command = [sys.executable, "-m", "tests.system.registry_races", *few]
    done = subprocess.run(
        [*command, "--save", str(tmp_path / "counts.json")],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    result = json.loads(done.stdout)["sqlite"]
    assert (result["races_with_one_winner"], result["kills"]) == (5, 5)
