"""`sentigraph warm` and `sentigraph flush` against the running graph, by what a request finds."""

import json
import uuid
from pathlib import Path

import httpx
import pytest
from ended_jobs import until_ended
from ingresses import clients

from cli.__main__ import main
from operations.local_stack.stack import Stack


def test_warmed_texts_are_known_and_flushed_ones_are_not(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [f"warm {uuid.uuid4()} text {i}" for i in range(300)]
    file = tmp_path / "texts.jsonl"
    file.write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    assert main(["warm", str(file), "--url", stack.url]) == 0
    assert "300 texts, 0 of them known before" in capsys.readouterr().err

    def known(text: str) -> list[bool]:
        with clients(stack) as each:
            answers = [client.post("/predict", json={"text": text}) for client in each]
        return [bool(answer.raise_for_status().json()["cached"]) for answer in answers]

    # By the ingress that had its batch; the other one may find it in the shared cache.
    assert all(any(known(text)) for text in texts[::50])
    assert main(["flush", "--url", stack.url]) == 0
    said = capsys.readouterr().out
    assert int(said.split()[1]) >= 300  # in memory; others may have left entries too
    assert not any(known(text)[0] for text in texts[1::50])
    assert all(all(known(text)) for text in texts[1::50])  # remembered anew


def test_another_versions_predictions_stay(client: httpx.Client, stack: Stack) -> None:
    text = f"stays {uuid.uuid4()}"
    client.post("/predict", json={"text": text})
    assert main(["flush", "--url", stack.url, "--digest", "ab" * 32]) == 0
    assert client.post("/predict", json={"text": text}).json()["cached"] is True
    assert main(["flush", "--url", stack.url, "--digest", "../models"]) == 1


def test_a_flush_reaches_what_jobs_remember(client: httpx.Client, stack: Stack) -> None:
    texts = [f"job {uuid.uuid4()}"]

    def cached() -> bool:
        job_id = client.post("/batch/predict", json={"texts": texts}).json()["job_id"]
        assert until_ended(client, job_id)["status"] == "completed"
        (result,) = client.get(f"/batch/results/{job_id}").json()["results"]
        return bool(result["prediction"]["cached"])

    assert [cached(), cached()] == [False, True]
    assert main(["flush", "--url", stack.url]) == 0
    assert [cached(), cached()] == [False, True]
