"""Drift on the real graph: answers of HTTP and jobs are compared, and a killed replica goes on."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx
from ended_jobs import until_ended
from test_jobs import replica_pids

from operations.local_stack.stack import Stack

DRIFT = "/monitoring/drift"


def summary(client: httpx.Client, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The summary once ``is_so``."""
    deadline_s = time.monotonic() + 90
    found: dict[str, Any] = {}
    while time.monotonic() < deadline_s:
        answer = client.get(DRIFT)
        # While its replica starts anew, the answer is 503.
        if answer.status_code == 200:
            found = answer.json()
            if is_so(found):
                return found
        time.sleep(0.2)
    raise AssertionError(f"not so: {found}")


def predict(client: httpx.Client, texts: list[str]) -> None:
    answer = client.post(
        "/predict/batch", json={"texts": texts}, headers={"X-Deadline-Ms": "60000"}
    )
    assert answer.status_code == 200
    assert answer.json()["failed"] == 0


def mixed(n: int, name: str) -> list[str]:
    words = ("wonderful", "awful")
    return [f"What a {words[i % 2]} thing, {name} number {i:05}" for i in range(n)]


def is_idle(found: dict[str, Any]) -> bool:
    return found["baseline_established"] and not found["pending_texts"]


def test_another_mix_is_found_and_a_killed_replica_goes_on(
    stack: Stack, client: httpx.Client
) -> None:
    for part in range(3):
        predict(client, mixed(500, f"learned {part}"))
    summary(client, is_idle)
    # Other tests have sent texts of all kinds; what is usual is decided here.
    client.post(f"{DRIFT}/reset", json={"relearn": True}).raise_for_status()
    job = client.post("/batch/predict", json={"texts": mixed(1_000, "job")}).json()
    assert until_ended(client, job["job_id"])["status"] == "completed"
    before = summary(client, is_idle)
    assert before["baseline_size"] >= 1_000
    (pid,) = replica_pids(stack, "Insight")
    os.kill(pid, signal.SIGKILL)
    predict(client, [f"What an awful thing, later number {i:05}" for i in range(400)])
    after = summary(client, lambda found: found["levels"]["label"] == "drifted")
    assert after["reference"] == before["reference"]
    check = client.get(f"{DRIFT}/check").json()
    assert check["prediction_drift_detected"]
    report = client.get(f"{DRIFT}/report")
    assert report.status_code == 200
    assert "script" not in report.headers["content-security-policy"]
    client.post(f"{DRIFT}/reset", json={"relearn": True}).raise_for_status()
