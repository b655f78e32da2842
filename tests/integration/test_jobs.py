"""Batch jobs on the real graph: killed in the middle, complete and in order all the same."""

import io
import json
import os
import signal
import time
from pathlib import Path

import httpx
import pyarrow.parquet as pq
from ended_jobs import until_ended

from operations.local_stack.stack import Stack


def replica_pids(stack: Stack, deployment: str) -> list[int]:
    mark = f"SENTIGRAPH_STACK={stack.environ['SENTIGRAPH_STACK']}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "cmdline").read_bytes()
            if f":{deployment}".encode() in name and mark in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_a_job_outlives_its_replica(stack: Stack, client: httpx.Client) -> None:
    texts = [f"text number {i} is {'good' if i % 2 else 'bad'}" for i in range(900)]
    accepted = client.post("/batch/predict", json={"texts": texts}).json()
    job_id = accepted["job_id"]
    while client.get(f"/batch/status/{job_id}").json()["processed_texts"] == 0:
        time.sleep(0.05)
    (pid,) = replica_pids(stack, "Jobs")
    os.kill(pid, signal.SIGKILL)
    status = until_ended(client, job_id)
    assert (status["status"], status["processed_texts"]) == ("completed", 900)
    assert 0 < status["retried_texts"] <= 2 * 128
    body = client.get(f"/batch/results/{job_id}/file", params={"format": "parquet"})
    rows = pq.read_table(io.BytesIO(body.content))
    assert rows.column("text").to_pylist() == texts
    assert rows.column("label").null_count == 0
    assert rows.column("model_version").to_pylist()[0] >= 1


def test_an_uploaded_file_is_answered_as_over_http(client: httpx.Client) -> None:
    texts = ["what a wonderful day", "an awful mess"]
    content = "id,text\n" + "\n".join(f"00{i},{text}" for i, text in enumerate(texts))
    answer = client.post("/batch/files", files={"file": ("in.csv", content)})
    until_ended(client, answer.json()["job_id"])
    page = client.get(f"/batch/results/{answer.json()['job_id']}").json()
    labels = [item["prediction"]["label"] for item in page["results"]]
    assert labels == [client.post("/predict", json={"text": t}).json()["label"] for t in texts]
    file = client.get(f"/batch/results/{answer.json()['job_id']}/file").content
    rows = [json.loads(line) for line in file.splitlines()]
    assert [row["id"] for row in rows] == ["000", "001"]
    assert [(row["label"], row[f"score_{row['label']}"]) for row in rows] == [
        (item["prediction"]["label"], item["prediction"]["score"]) for item in page["results"]
    ]
