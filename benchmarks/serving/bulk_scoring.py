"""What `sentigraph score` reaches beside the bare engine.

``python -m benchmarks.serving.bulk_scoring``:

- rate and memory: a CSV file of so many rows and one of a tenth of them, each scored by the
  command as a user runs it, start-up included; the bare engine's texts per second right before
  and right after; the peak memory of all processes of each run, shared pages counted once.
- resume: the command is ended with SIGKILL, with everything that it started, at half of the rows
  and given again; every row must be there once, in order, and no finished part scored again.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.harness import bare_engine as bare
from benchmarks.harness.machine import ROOT, whole_cores
from benchmarks.harness.models import BUNDLED
from benchmarks.harness.output import result, run_facts, say
from benchmarks.harness.processes import kill_all, memory_mb
from benchmarks.harness.texts import numbered_texts
from operations.local_stack.processes import MARK, belonging

_SAMPLE_S = 2.0


class Command:
    """One run of ``sentigraph score`` in processes of its own."""

    def __init__(self, source: Path, target: Path) -> None:
        self._mark = uuid.uuid4().hex
        self.parts = Path(f"{target}.parts")
        command = [sys.executable, "-m", "cli", "score", str(source), str(target)]
        self.started_s = time.monotonic()
        self._process = subprocess.Popen(
            [*command, "--bundle", str(BUNDLED)],
            cwd=ROOT,
            env={**os.environ, MARK: self._mark},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def until(self, is_so: Callable[[], bool]) -> bool:
        """Waits for it; False when the command ended first."""
        while self._process.poll() is None:
            if is_so():
                return True
            time.sleep(_SAMPLE_S)
        return False

    def scored(self) -> int:
        """Rows of finished parts; their names tell."""
        return sum(int(path.name.split("-")[2]) for path in self.parts.glob("part-*"))

    def finish(self) -> "Finished":
        """Waits for its end."""
        peak = 0.0
        seen: list[tuple[float, int]] = []

        def sample() -> bool:
            nonlocal peak
            peak = max(peak, memory_mb(belonging(self._mark, set()))[1])
            if rows := self.scored():
                seen.append((time.monotonic(), rows))
            return False

        self.until(sample)
        seconds = time.monotonic() - self.started_s
        out, _ = self._process.communicate()
        assert self._process.returncode == 0, self._process.returncode
        (first_s, first), (last_s, last) = seen[0], seen[-1]
        steady = (last - first) / (last_s - first_s) if last > first else 0.0
        return Finished(json.loads(out), seconds, peak, steady)

    def kill(self) -> None:
        """SIGKILL to the command and to all that it started."""
        kill_all(self._mark)
        self._process.wait()


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that ended well.

    Attributes:
        summary: What it printed.
        seconds: From start to end.
        peak_mb: Most memory of all its processes at once.
        steady_per_s: Rows per second from the first parts on, without start-up and merging.
    """

    summary: dict[str, Any]
    seconds: float
    peak_mb: float
    steady_per_s: float


def rate_and_memory(folder: Path, rows: int) -> dict[str, object]:
    """Rows per second beside the bare engine, and peak memory of two sizes."""
    texts = numbered_texts(rows)
    sample = texts[: max(2_000, rows // 20)]
    before = _ceiling(sample)
    small = _score(folder, texts[: rows // 10], "small")
    large = _score(folder, texts, "large")
    after = _ceiling(sample)
    ceiling = (max(before.values()) + max(after.values())) / 2
    return {
        "rows": rows,
        "bare_engine_texts_per_s": {"before": before, "after": after},
        "small": small,
        "large": large,
        "ratio_to_bare_engine": round(large["rows_per_s"] / ceiling, 3),
        "ratio_to_bare_engine_without_start_up": round(
            large["rows_per_s_without_start_up"] / ceiling, 3
        ),
        "memory_ratio_of_ten_times_the_rows": round(
            large["peak_memory_mb"] / small["peak_memory_mb"], 3
        ),
    }


def resume(folder: Path, rows: int) -> dict[str, object]:
    """Kills the command at half of the rows, gives it again, and checks what came out."""
    texts = numbered_texts(rows)
    source, target = folder / "resume.csv", folder / "resume.parquet"
    _write(source, texts)
    first = Command(source, target)
    parts = first.parts
    assert first.until(lambda: first.scored() >= rows / 2), "it ended before half of the rows"
    first.kill()
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("part-*.parquet")}
    at = first.scored()
    second = Command(source, target)
    seen: set[str] = set()

    def watch() -> bool:
        for path in parts.glob("part-*.parquet"):
            try:
                if kept.get(path.name, 0) == path.stat().st_mtime_ns:
                    seen.add(path.name)
            except FileNotFoundError:
                continue
        return bool(seen)

    second.until(watch)
    done = second.finish()
    assert done.summary["rows_scored_by_an_earlier_run"] == at
    _check(target, texts)
    return {
        "rows": rows,
        "killed_at_rows": at,
        "rows_scored_again_of_finished_parts": 0 if seen == set(kept) else None,
        "rows_complete_and_in_order": True,  # _check raises otherwise
        "seconds_of_the_second_run": round(done.seconds, 1),
    }


def _ceiling(texts: list[str]) -> dict[str, float]:
    """Texts per second of the bare engine by policy; its best one is what counts."""
    return {
        policy: round(bare.pace(BUNDLED, texts, policy, cores=whole_cores()), 1)
        for policy in (bare.ONE_BY_ONE, bare.PLANNED)
    }


def _score(folder: Path, texts: list[str], name: str) -> dict[str, float]:
    source, target = folder / f"{name}.csv", folder / f"{name}.parquet"
    _write(source, texts)
    done = Command(source, target).finish()
    assert done.summary["rows"] == len(texts)
    assert done.summary["failed_rows"] == 0
    _check(target, texts)
    return {
        "rows": len(texts),
        "seconds_with_start_up": round(done.seconds, 1),
        "rows_per_s": round(len(texts) / done.seconds, 1),
        "rows_per_s_without_start_up": round(done.steady_per_s, 1),
        "peak_memory_mb": round(done.peak_mb),
    }


def _check(target: Path, texts: list[str]) -> None:
    table = pq.read_table(target)
    assert table.column("id").to_pylist() == [str(i) for i in range(len(texts))]
    assert table.column("text").to_pylist() == texts
    assert table.column("label").null_count == 0


def _write(path: Path, texts: list[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["id", "text"])
        rows.writerows(enumerate(texts))


def main() -> None:
    """Runs what is asked for and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--resume-rows", type=int, help="as --rows when not given")
    parser.add_argument("--only", choices=["rate_and_memory", "resume"])
    given = parser.parse_args()
    facts = run_facts()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.only != "resume":
            facts["rate_and_memory"] = rate_and_memory(folder, given.rows)
            say(facts["rate_and_memory"])
        if given.only != "rate_and_memory":
            facts["resume"] = resume(folder, given.resume_rows or given.rows)
    result(None, facts)


if __name__ == "__main__":
    main()
