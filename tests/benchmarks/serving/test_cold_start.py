"""The cold-start report, and one rung on the bundled model."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving import cold_start_report, cold_start_rung
from benchmarks.serving.cold_start_rung import Phases

ROOT = Path(__file__).parents[3]


def rung(name: str, wall_ms: float, correct: bool = True) -> dict[str, Any]:
    return {
        "rung": name,
        "wall_ms": wall_ms,
        "min_ms": wall_ms - 1,
        "max_ms": wall_ms + 1,
        "cpu_ms": wall_ms / 2,
        "phases": {"session": {"wall_ms": wall_ms, "cpu_ms": wall_ms / 2}},
        "correct": correct,
    }


RESULT = {
    "date": "2026-11-23T00:00:00+00:00",
    "machine": {"processor": "a processor", "cores": 2.0},
    "load_average": 0.1,
    "versions": {"torch": "2"},
    "repeats": 3,
    "sizes": {
        "MiniLM": {
            "warm": [rung("pipeline", 800), rung("ours", 50, False), rung("swap: pipeline", 400)],
            "cold": [rung("pipeline", 900)],
            "stayed_in_cache": 0.25,
        }
    },
}


def test_the_table_says_how_many_times_and_what_was_wrong() -> None:
    text = cold_start_report.describe(RESULT)
    assert "| ours | 50 | 49 to 51 | 25 | 16.0 | WRONG |" in text
    assert "| swap: pipeline | 400 | 399 to 401 | 200 | 1.0 | correct |" in text
    assert "at most 25% stayed there" in text
    assert "| ours | 50 / 25 |" in text


def test_the_guide_keeps_what_stands_around_its_tables(tmp_path: Path) -> None:
    guide = tmp_path / "guide.md"
    begin, end = cold_start_report.BEGIN, cold_start_report.END
    guide.write_text(f"before\n{begin}\nstale\n{end}\nafter\n")
    for _ in range(2):
        cold_start_report.render(RESULT, guide)
        text = guide.read_text()
        assert text.startswith("before\n")
        assert text.endswith("\nafter\n")
        assert "stale" not in text
        assert text.count("| ours | 50 |") == 1


def test_the_committed_guide_has_its_marks() -> None:
    text = cold_start_report.GUIDE.read_text(encoding="utf-8")
    assert text.index(cold_start_report.BEGIN) < text.index(cold_start_report.END)


def test_a_swap_answers_and_its_phases_leave_out_what_was_before(tmp_path: Path) -> None:
    for name in ("int8", "second"):
        shutil.copytree(ROOT / "models" / "sentiment", tmp_path / name)
    started = time.monotonic()
    phases = Phases(started)
    scores = cold_start_rung.swap_engine(tmp_path, phases)
    seconds = time.monotonic() - started
    assert sum(scores) == pytest.approx(1, abs=1e-5)
    names = [name for name, _, _ in phases.done]
    assert names == ["digests", "session", "warm-up", "tokenizer", "first answer"]
    assert sum(wall for _, wall, _ in phases.done) < seconds * 1_000
