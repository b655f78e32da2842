"""Paths that are no route's: refused, never sent on to the host that a client names."""

from pathlib import Path

import httpx
import pytest
from front import with_front
from jobs_front import jobs_config, with_jobs

from configs.schema.app import AppConfig


@pytest.mark.parametrize("path", ["/health/", "/api/v1/health/live/", "/api/v1/metrics/"])
def test_a_slash_too_many_is_no_redirect(path: str) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        answer = await client.get(path, headers={"Host": "evil.example"})
        assert (answer.status_code, answer.json()["error_code"]) == (404, "E1001")
        assert "location" not in answer.headers

    with_front(AppConfig.model_validate({"cache": {"l2": "none"}}), body)


def test_nor_below_batch_jobs(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _: object) -> None:
        answer = await client.get("/queue/status/", headers={"Host": "evil.example"})
        assert (answer.status_code, "location" in answer.headers) == (404, False)

    with_jobs(jobs_config(tmp_path), body, start=False)
