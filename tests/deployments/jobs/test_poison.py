"""A job with texts that the model has no answer for: they fail, the others are answered."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from jobs_front import jobs_config, until_ended, with_jobs
from poison_model import GOOD, LONG, NAN, NO_ROW, PoisonStages

from deployments.jobs.replica import JobsReplica


async def results(client: httpx.AsyncClient, texts: list[str]) -> tuple[Any, list[Any]]:
    job_id = (await client.post("/predict", json={"texts": texts})).json()["job_id"]
    async with asyncio.timeout(10):
        status = await until_ended(client, job_id)
    page = await client.get(f"/results/{job_id}", params={"page_size": 1_000})
    assert page.status_code == 200
    return status, page.json()["results"]


@pytest.mark.parametrize(
    ("texts", "guilty"),
    [
        (["tea one", "tea two", "zzplusplus tea", "tea three", "tea four"], {2}),
        ([NAN, *GOOD, LONG, NO_ROW], {0, 13, 14}),
        ([NO_ROW, GOOD[0]], {0}),
        (["  ", *GOOD[:3], NAN], {0, 4}),
    ],
)
def test_the_guilty_texts_alone_fail_and_are_not_tried_again(
    tmp_path: Path, texts: list[str], guilty: set[int]
) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        status, items = await results(client, texts)
        assert (status["status"], status["failed_texts"]) == ("completed", len(guilty))
        assert {i for i, item in enumerate(items) if item["error"]} == guilty
        for i in guilty:
            expected = "E2002" if texts[i].strip() else "E1003"
            assert items[i]["error"]["error_code"] == expected
        assert all(item["prediction"] for i, item in enumerate(items) if i not in guilty)

    with_jobs(jobs_config(tmp_path), body, PoisonStages(tmp_path))


def test_a_job_of_poison_alone_ends_soon(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        status, items = await results(client, [NO_ROW, NAN])
        assert status["status"] == "failed"
        assert [item["error"]["error_code"] for item in items] == ["E2002", "E2002"]

    with_jobs(jobs_config(tmp_path), body, PoisonStages(tmp_path))
