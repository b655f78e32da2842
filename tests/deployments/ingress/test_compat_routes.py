"""Paths of the specification answer, with and without the prefix, ready or not."""

import asyncio

import httpx
from front import LIVE, Stages, with_front

from configs.schema.app import AppConfig
from deployments.payloads import ModelAnswer, TextBatch

CONFIG = AppConfig.model_validate({"cache": {"l2": "none"}})


class Broken(Stages):
    async def classify(self, batch: TextBatch) -> ModelAnswer:
        await asyncio.sleep(0)
        raise RuntimeError("no replica")


def test_a_healthy_service_says_so_everywhere() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        for start in ("", "/api/v1"):
            health = (await client.get(f"{start}/health")).json()
            assert (health["status"], health["model_status"]) == ("healthy", "available")
            assert (health["service"], health["backend"]) == (CONFIG.server.app_name, "onnx")
            assert (await client.get(f"{start}/ready")).json() == {"status": "ready"}
            assert "sentiment_requests_total" in (await client.get(f"{start}/metrics")).text
        details = (await client.get("/api/v1/health/details")).json()
        assert {part["component_name"] for part in details["dependencies"]} == {"model", "registry"}
        for path in ("/api/v1/model-info", "/api/v1/model/info"):
            facts = (await client.get(path)).json()
            assert (facts["model_name"], facts["is_quantized"]) == (LIVE.name, True)
            assert facts["max_text_length"] == 10_000

    with_front(CONFIG, body)


def test_methods_that_clients_make_up_are_counted_as_one() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        for method in ("BREW", "PROPFIND", "GET"):
            assert (await client.request(method, "/nowhere")).status_code == 404
            await client.request(method, "/health")
        refused = await client.request("BREW", "/health")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
        page = (await client.get("/metrics")).text
        assert "BREW" not in page
        unmatched = 'sentiment_requests_total{endpoint="unmatched",method='
        assert f'{unmatched}"other",status_code="404"}} 2.0' in page
        assert f'{unmatched}"GET",status_code="404"}} 1.0' in page

    with_front(CONFIG, body)


def test_a_broken_model_is_seen_and_hides_nothing_else() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        health = await client.get("/health")
        assert (health.status_code, health.json()["status"]) == (200, "unhealthy")
        assert (await client.get("/ready")).status_code == 503
        (model,) = (await client.get("/api/v1/health/details")).json()["dependencies"]
        assert model["details"]["status"] == "unhealthy"

    with_front(CONFIG, body, stages=Broken())


def test_figures_of_streams_that_are_off_say_so() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        for path in ("kafka-metrics", "kafka/metrics"):
            answer = await client.get(f"/api/v1/{path}")
            assert (answer.status_code, answer.json()["error_code"]) == (503, "E4006")

    with_front(CONFIG, body)
