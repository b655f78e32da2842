"""Every notebook's cells run, in order, and what they assert holds."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*/*.md"))
_CELL = re.compile(r"^```\{code-cell\}.*?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# It trains, on a tiny random base.
SLOW = {"from_csv_to_version"}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in SLOW else [])
        for path in NOTEBOOKS
    ],
)
def test_a_notebook_runs(path: Path) -> None:
    cells = _CELL.findall(path.read_text(encoding="utf-8"))
    assert any("assert " in cell for cell in cells)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(cells)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sdk/python")])},
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]


def test_every_notebook_is_listed() -> None:
    readme = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"\]\((\w+/\w+\.md)\)", readme))
    assert listed == {path.relative_to(ROOT / "notebooks").as_posix() for path in NOTEBOOKS}
    assert len(listed) == 5
