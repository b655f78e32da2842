"""A slash at the end of a path: the same answer, never sent on to the host that a client names."""

from pathlib import Path

import httpx
import pytest
from front import with_front
from jobs_front import jobs_config, with_jobs

from configs.schema.app import AppConfig


@pytest.mark.parametrize(
    "path", ["/health", "/api/v1/health/live", "/api/v1/metrics", "/api/v1/model-info", "/v2"]
)
def test_a_slash_at_the_end_changes_nothing(path: str) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        plain = await client.get(path)
        answer = await client.get(f"{path}/", headers={"Host": "evil.example"})
        assert plain.status_code == answer.status_code == 200
        assert answer.headers["content-type"] == plain.headers["content-type"]
        assert "location" not in answer.headers
        # One slash, and no escaped one: that is part of a name.
        for other in (f"{path}//", f"{path}%2F"):
            assert (await client.get(other)).status_code == 404

    with_front(AppConfig.model_validate({"cache": {"l2": "none"}}), body)


@pytest.mark.parametrize("path", ["/api/v1/predict", "/api/v1/predict/batch"])
def test_nor_where_something_is_sent(path: str) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        sent = {"texts": ["a"]} if path.endswith("batch") else {"text": "a"}
        assert (await client.post(f"{path}/", json=sent)).status_code == 200

    with_front(AppConfig.model_validate({"cache": {"l2": "none"}}), body)


def test_an_unknown_path_stays_unknown() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        answer = await client.get("/nothing/", headers={"Host": "evil.example"})
        assert (answer.status_code, answer.json()["error_code"]) == (404, "E1001")
        assert "location" not in answer.headers

    with_front(AppConfig.model_validate({"cache": {"l2": "none"}}), body)


@pytest.mark.parametrize("path", ["/console", "/api/v1/docs"])
def test_a_page_with_a_slash_leads_to_the_page(path: str) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        answer = await client.get(f"{path}/", headers={"Host": "evil.example"})
        assert answer.status_code == 308
        # Relative: it names no host, and holds behind a proxy with a prefix.
        assert answer.headers["location"] == f"../{path.rpartition('/')[2]}"
        assert str(answer.url.join(answer.headers["location"])).endswith(path)
        page = await client.get(f"{path}/", follow_redirects=True)
        assert page.text == (await client.get(path)).text

    with_front(AppConfig.model_validate({"cache": {"l2": "none"}}), body)


def test_nor_below_batch_jobs(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _: object) -> None:
        answer = await client.get("/queue/status/", headers={"Host": "evil.example"})
        assert (answer.status_code, "location" in answer.headers) == (200, False)

    with_jobs(jobs_config(tmp_path), body, start=False)
