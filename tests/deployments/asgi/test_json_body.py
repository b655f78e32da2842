"""Bodies that Python's JSON reader takes and no writer can send: refused in the one error body."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from front import with_front
from insight_front import drift_config, with_insight
from jobs_front import jobs_config, with_jobs

from configs.schema.app import AppConfig
from deployments.jobs.replica import JobsReplica

CONFIG = AppConfig.model_validate({"cache": {"l2": "none"}})
BAD = {
    "lone surrogate": r'"x \ud83d"',
    "second half of a pair first": r'"\ude00\ud83d"',
    "surrogate in a key": r'{"\udfff": 1}',
    "NaN": "NaN",
    "infinity": "-Infinity",
    "overflow": "1e999",
    "integer of 65 bits": "18446744073709551616",
    "integer of 5,000 digits": "9" * 5_000,
    "33 lists": "[" * 40 + "]" * 40,
    "100,000 lists": "[" * 100_000 + "]" * 100_000,
    "not closed": "[",
    "half a character": '"\udc80"',
}
# The body's field that gets the bad value, and a whole body around it.
ROUTES: dict[str, dict[str, Any]] = {
    "/api/v1/predict": {"text": "BAD"},
    "/api/v1/predict/batch": {"texts": ["fine", "BAD"]},
    "/api/v1/feedback": {
        "prediction_id": "0b1c2c0e-7f3a-4a53-9d3b-0f2f4a3f7b11",
        "corrected_label": "POS",
        "comments": "BAD",
    },
    "/v2/models/m/infer": {
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["BAD"]}]
    },
}


def sent(body: dict[str, Any], bad: str) -> bytes:
    content = json.dumps(body).replace('"BAD"', bad)
    return content.encode("utf-8", "surrogateescape")


def check(answer: httpx.Response) -> None:
    assert answer.status_code in (400, 422), answer.text
    error = answer.json()
    assert (error["error_code"], error["status_code"]) == ("E1001", answer.status_code)
    assert error["correlation_id"] == answer.headers["x-correlation-id"]


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_no_route_takes_what_cannot_be_written(bad: str) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        for path, fields in ROUTES.items():
            headers = {"content-type": "application/json"}
            check(await client.post(path, content=sent(fields, bad), headers=headers))
            # As a field that the route does not know, and as the whole body.
            unknown = sent({**fields, "more": "BAD"} | {"parameters": "BAD"}, bad)
            check(await client.post(path, content=unknown, headers=headers))
            check(await client.post(path, content=sent({"": "BAD"}, bad)[5:-1], headers=headers))

    with_front(CONFIG, body)


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_no_job_takes_it_either(tmp_path: Path, bad: str) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        headers = {"content-type": "application/json"}
        for fields in ({"texts": ["fine", "BAD"]}, {"texts": ["fine"], "webhook_url": "BAD"}):
            check(await client.post("/predict", content=sent(fields, bad), headers=headers))

    with_jobs(jobs_config(tmp_path), body)


def test_no_route_of_what_is_watched_takes_it(tmp_path: Path) -> None:
    routes: dict[str, dict[str, Any]] = {
        "/monitoring/labels": {"prediction_id": "x" * 36, "label": "POS", "comment": "BAD"},
        "/monitoring/labels/import": {"label_studio": [{"meta": "BAD"}]},
        "/monitoring/explain": {"text": "BAD"},
        "/monitoring/drift/reset": {"reason": "BAD"},
    }

    async def body(client: httpx.AsyncClient, *_: Any) -> None:
        headers = {"content-type": "application/json"}
        for name, bad in {**BAD, "NUL": r'"a\u0000"'}.items():
            for path, fields in routes.items():
                if (name, path) != ("NUL", "/monitoring/explain"):
                    check(await client.post(path, content=sent(fields, bad), headers=headers))

    enabled = {"enabled": True}
    config = drift_config(tmp_path, feedback=enabled, explanations=enabled)
    with_insight(config, body)


@pytest.mark.parametrize("text", ["emoji \\ud83d\\ude00", "\\u0000", "\\uffff", "🙂", "1e999"])
def test_what_only_looks_like_it_is_taken(tmp_path: Path, text: str) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        content = b'{"texts": ["%s"]}' % text.encode()
        headers = {"content-type": "application/json"}
        answer = await client.post("/predict", content=content, headers=headers)
        assert answer.status_code == 202, answer.text

    with_jobs(jobs_config(tmp_path), body)


@pytest.mark.parametrize("path", ["/status/%00", "/results/a%00b", "/results/%00/file"])
def test_no_job_is_asked_for_by_a_name_with_a_nul(tmp_path: Path, path: str) -> None:
    async def body(client: httpx.AsyncClient, _: JobsReplica) -> None:
        check(await client.get(path))

    with_jobs(jobs_config(tmp_path), body)
