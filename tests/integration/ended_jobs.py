"""Waiting for the end of a batch job."""

import time
from typing import Any

import httpx


def until_ended(client: httpx.Client, job_id: str) -> dict[str, Any]:
    deadline_s = time.monotonic() + 90
    while time.monotonic() < deadline_s:
        answer = client.get(f"/batch/status/{job_id}")
        # While its replica starts anew, the answer is 503.
        if answer.status_code == 200 and answer.json()["status"] not in ("pending", "processing"):
            found: dict[str, Any] = answer.json()
            return found
        time.sleep(0.2)
    raise AssertionError("the job did not end")
