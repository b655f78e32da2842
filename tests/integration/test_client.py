"""The Python client against the running graph: predictions, batches, jobs, feedback, models."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations.local_stack.stack import Stack
from sentigraph_client import AsyncClient, Client, errors

SDK = Path(__file__).parents[2] / "sdk" / "python"
TEXTS = ["what a wonderful day", "", "an awful mess"]


@pytest.fixture
def sdk(stack: Stack) -> Iterator[Client]:
    with Client(stack.url, timeout_s=60, actor="tester") as client:
        yield client


def test_predictions_have_labels_timings_and_errors(sdk: Client) -> None:
    answer = sdk.predict(TEXTS[0], deadline_s=20)
    assert (answer.label, answer.scores[answer.label]) == ("POSITIVE", answer.score)
    assert "server-timing" in answer.response_headers
    with pytest.raises(errors.InvalidRequest) as raised:
        sdk.predict("")
    assert (raised.value.error_code, raised.value.status) == ("E1003", 422)
    assert raised.value.correlation_id
    items = list(sdk.predict_many(TEXTS * 400, max_texts=500))
    assert [item.index for item in items] == list(range(1_200))
    assert {item.error.error_code for item in items if item.error is not None} == {"E1003"}
    assert sdk.predict_batch(TEXTS).failed == 1
    name = answer.model_name
    inferred = sdk.open_inference.infer(name, ["fine"], outputs=["label"])
    assert inferred.outputs[0].data == [sdk.predict("fine").label]


def test_both_clients_answer_alike(stack: Stack, sdk: Client) -> None:
    async def ask() -> tuple[str, list[int]]:
        async with AsyncClient(stack.url) as client:
            first = await client.predict(TEXTS[0])
            items = [item.index async for item in client.predict_many(TEXTS)]
            return first.label, items

    assert asyncio.run(ask()) == (sdk.predict(TEXTS[0]).label, [0, 1, 2])


def test_jobs_are_submitted_waited_for_and_downloaded(sdk: Client, tmp_path: Path) -> None:
    texts = [f"a fine day, number {i}" for i in range(30)]
    accepted = sdk.jobs.submit(texts, idempotency_key="client-test")
    assert sdk.jobs.submit(texts, idempotency_key="client-test").job_id == accepted.job_id
    status = sdk.jobs.wait(accepted.job_id, timeout_s=90)
    assert (status.status, status.processed_texts) == ("completed", 30)
    found = list(sdk.jobs.iter_results(accepted.job_id, page_size=7))
    assert [item.index for item in found] == list(range(30))
    file = sdk.jobs.download(accepted.job_id, tmp_path / "results.jsonl")
    assert len(file.read_text(encoding="utf-8").splitlines()) == 30
    source = tmp_path / "texts.csv"
    source.write_text("review\nfine\nawful\n", encoding="utf-8")
    uploaded = sdk.jobs.upload(source, text_column="review")
    assert sdk.jobs.wait(uploaded.job_id, timeout_s=90).total_texts == 2
    with pytest.raises(errors.Conflict):
        sdk.jobs.cancel(uploaded.job_id)
    assert sdk.jobs.figures().completed_jobs >= 2


def test_feedback_models_and_health(sdk: Client, tmp_path: Path) -> None:
    answer = sdk.predict("a day to remember")
    assert sdk.feedback(answer.prediction_id, answer.label).correct
    live = sdk.server.live_models().champion
    assert live.version == answer.model_version
    model = sdk.models.get(live.name)
    assert model.response_headers["etag"]
    assert [version.number for version in sdk.models.iter_search(alias="champion")]
    assert sdk.models.audit(live.name, limit=1).verified
    assert sdk.versions.get(live.name, "champion").digest == live.digest
    file = sdk.versions.download_file(live.name, "champion", "bundle.json", tmp_path / "b.json")
    assert file.stat().st_size > 0
    with pytest.raises(errors.NotFound):
        sdk.releases.status(live.name)
    assert sdk.server.checks().status == "ready"
    assert "sentiment_requests_total" in sdk.server.metrics()
    made = sdk.models.create("client-test", description="by the client")
    assert sdk.models.update("client-test", description="changed").name == made.name
    sdk.models.delete("client-test")


def test_the_readme_runs(stack: Stack, tmp_path: Path) -> None:
    text = (SDK / "README.md").read_text(encoding="utf-8")
    script = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    environ = {**os.environ, "SENTIGRAPH_URL": stack.url, "PYTHONPATH": str(SDK)}
    environ.pop("SENTIGRAPH_API_KEY", None)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "completed ['POSITIVE', 'NEGATIVE']" in done.stdout
    assert "422 E1003" in done.stdout
    assert (tmp_path / "results.csv").exists()
