"""The arithmetic of ``make chaos``: what clients saw, and which limits that breaks."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from operations.local_stack import stack
from operations.local_stack.ports import free_port
from tests.system.chaos import broken, merged, table
from tests.system.chaos_clock import JumpingClock
from tests.system.chaos_faults import Limits, experiments
from tests.system.chaos_load import OpenLoad, Sent, seen
from tests.system.chaos_outages import outages
from tests.system.chaos_planted import WATCHDOG, planted
from tests.system.chaos_work import result_mistakes

GOOD = {"NEGATIVE": 0.25, "POSITIVE": 0.75}
EXPECTED = {"text": GOOD}


def sent(due_s: float, took_s: float = 0.1, outcome: str = "200", **scores: float) -> Sent:
    answer = (GOOD | scores) if outcome == "200" else {}
    return Sent("text", due_s, due_s + took_s, outcome, answer)


def test_a_quiet_run_has_nothing_to_say() -> None:
    found = seen([sent(i / 10) for i in range(-20, 50)], EXPECTED)
    assert (found.failed, found.wrong, found.recovered_s) == (0, 0, 0)
    assert found.silence_s == pytest.approx(0.1)
    assert found.outcomes == {"200": 70}


def test_errors_late_answers_and_silence_are_seen() -> None:
    before = [sent(-i / 10, outcome="500") for i in range(1, 3)]
    refused = [sent(i / 10, 0, "ConnectionRefusedError") for i in range(30)]
    late = [sent(3, 11), sent(3.5, 2.5)]
    after = [sent(4 + i / 10) for i in range(200)]
    found = seen(before + refused + late + after, EXPECTED)
    # Two before the fault, thirty refused, one after the deadline.
    assert found.failed == 33
    assert found.silence_s == pytest.approx(4.1)
    assert found.recovered_s == 3.5


def test_another_prediction_and_a_404_are_wrong() -> None:
    run = [sent(0), sent(1, POSITIVE=0.7), sent(2, outcome="404"), sent(3, outcome="503")]
    assert seen(run, EXPECTED).wrong == 2


def test_each_broken_limit_is_a_sentence() -> None:
    limits = Limits(1, 2, 3)
    quiet = seen([sent(i / 10) for i in range(50)], EXPECTED)
    assert broken(limits, quiet, 10, 1) == []
    assert broken(limits, quiet, 10, 0) == ["no process was found"]
    bad = seen([sent(i / 10, 0, "503") for i in range(50)] + [sent(5, outcome="404")], EXPECTED)
    assert len(broken(limits, bad, 10, 1)) == 4


@pytest.mark.parametrize("topology", ["split", "fused"])
def test_every_experiment_has_a_name_of_its_own_and_mlflow_dies_last(topology: str) -> None:
    names = [one.name for one in experiments(topology)]
    assert len(set(names)) == len(names)
    assert names[-1] == "MLflow SIGKILL"
    assert {"HAProxy SIGSTOP", "Ingress SIGKILL", "ServeController SIGKILL"} <= set(names)


def test_without_a_server_every_request_fails_and_none_waits() -> None:
    load = OpenLoad(f"http://127.0.0.1:{free_port()}", ["text"], 200.0, 0)
    asyncio.run(load.run(0.1, 0.2))
    assert load.sent
    assert {one.outcome for one in load.sent} == {"ConnectionRefusedError"}


def test_the_table_has_a_row_for_each_fault() -> None:
    row = {"fault": "X SIGKILL", "requests": 9, "failed": 0, "wrong": 0}
    row |= {"p99_ms": 1_500, "silence_s": 0.5, "recovered_s": 0}
    assert "| X SIGKILL | 9 | 0 | 0 | 1.50 s | 0.5 s | 0.0 s |" in table(
        {"split": {"requests_per_s": 15, "faults": [row]}}
    )


def test_a_row_takes_the_place_of_the_one_of_the_same_fault() -> None:
    before = {"split": {"date": "old", "faults": [{"fault": "X", "n": 1}, {"fault": "Y", "n": 2}]}}
    after = merged(before, "split", {"fault": "X", "n": 3}, {"date": "new"})["split"]
    assert after["faults"] == [{"fault": "X", "n": 3}, {"fault": "Y", "n": 2}]
    assert after["date"] == "new"


def test_lost_doubled_and_wrong_results_of_a_job_are_said() -> None:
    def row(index: int, label: str = "POSITIVE") -> dict[str, Any]:
        return {"index": index, "prediction": {"label": label}}

    assert result_mistakes([row(i) for i in range(5)], 5) == []
    assert result_mistakes([row(0), row(2)], 3) == ["the job lost 1 of 3 results"]
    assert result_mistakes([row(0)], 2, "file") == ["the file lost 1 of 2 results"]
    assert result_mistakes([row(0), row(0)], 1) == ["the job doubled 1 results"]
    assert "labels" in result_mistakes([row(0, "NEGATIVE")], 1)[0]
    assert "labels" in result_mistakes([{"index": 0, "prediction": None}], 1)[0]


def test_every_outage_has_a_name_of_its_own() -> None:
    names = [one.name for one in outages()]
    assert len(set(names)) == len(names)
    assert {"Redis 2 s late", "broker reset", "state disk full", "Jobs SIGKILL"} <= set(names)
    assert {"Vault held", "Vault sealed", "clock jumps by -1 h"} <= set(names)


def test_python_s_clock_jumps_and_its_waits_do_not(tmp_path: Path) -> None:
    clock = JumpingClock(tmp_path)
    code = "import time; input(); print(time.time(), time.monotonic()); time.sleep(0.01)"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **clock.environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with clock.jumped(-3_600):
        printed, _ = process.communicate("\n", timeout=60)
    wall_s, monotonic_s = map(float, printed.split())
    assert wall_s - time.time() == pytest.approx(-3_600, abs=60)
    assert monotonic_s - time.monotonic() == pytest.approx(0, abs=60)


def test_planted_regressions_change_what_haproxy_is_started_with(tmp_path: Path) -> None:
    with planted(WATCHDOG) as environ:
        vars(stack)["write_program"](tmp_path / "program")
        assert environ["RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S"] == "10"
    assert "tests.system.chaos_planted watchdog" in (tmp_path / "program").read_text()
    with planted(None):
        vars(stack)["write_program"](tmp_path / "program")
    assert "planted" not in (tmp_path / "program").read_text()
