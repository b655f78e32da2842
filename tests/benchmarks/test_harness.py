"""The whole harness against one real server: boot, compare, time, report."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.comparison import server_under_test as under_test


@pytest.mark.slow
def test_a_quick_run_against_fastapi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The project's own environment has what this peer needs; its pins would take minutes.
    monkeypatch.setattr(under_test, "ensure", lambda folder: Path(sys.executable))
    texts = [f"The {n}th film of the week was not bad at all, was it?" for n in range(3_000)]
    monkeypatch.setattr(command, "real_texts", lambda count: texts)
    options = ["--quick", "--peers", "fastapi-plain", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *options])
    assert command.main() == 0
    raw = json.loads(next(tmp_path.glob("quick-*.json")).read_text())
    assert raw["failures"] == []
    assert raw["comparisons"][0]["alone_max"] < 0.002
    assert {row["load"] for row in raw["rows"]} == {"closed", "open"}
    for row in raw["rows"]:
        assert row["ok"] > 0
        assert row["errors"] == 0
        assert row["server_cpu_s_per_1000"] > 0
        assert row["rss_mb"] >= row["pss_mb"] > 50
        assert row["boot_s"] > 0
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".md", ".png"}
