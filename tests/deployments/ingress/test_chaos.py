"""Faults on purpose: bounded, marked, on all ingresses, never in production."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, Counter

from configs.errors import ConfigError
from configs.load import load_config
from configs.schema.chaos import ChaosConfig
from deployments.access.roles import needed
from deployments.asgi.error_handlers import add_error_handlers
from deployments.asgi.exchange import Exchange
from deployments.errors import NotReady
from deployments.ingress import chaos
from deployments.ingress.chaos import FaultInjector, chaos_routes

PREDICT = "/api/v1/predict"


class Replicas:
    """Two of them, as the ingress that answers the routes sees them."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.counter = Counter("faults", "", ["type"], registry=CollectorRegistry())

        async def sleep(seconds: float) -> None:
            self.waited.append(seconds)

        self.each = [FaultInjector(self.counter, random.Random(n), sleep) for n in range(2)]

    async def inject(
        self, action: str, settings: Mapping[str, Any] | None, everywhere: bool
    ) -> list[dict[str, Any]]:
        assert everywhere
        return [one.apply(action, settings) for one in self.each]

    def predict(self, times: int) -> list[Exchange]:
        """As many predictions of each replica; those that got through have status 200."""

        async def answer(exchange: Exchange) -> None:
            exchange.status = 200

        async def all_of_them() -> list[Exchange]:
            done = []
            for one in self.each:
                route = one.over({PREDICT: answer})[PREDICT]
                for _ in range(times):
                    exchange = Exchange({"headers": [], "path": PREDICT}, None, None)  # type: ignore[arg-type]
                    try:
                        await route(exchange)
                    except NotReady:
                        exchange.status = 503
                    done.append(exchange)
            return done

        return asyncio.run(all_of_them())

    def counted(self) -> dict[str, float]:
        [family] = self.counter.collect()
        found = [s for s in family.samples if s.name == "faults_total"]
        return {sample.labels["type"]: sample.value for sample in found}


def client(replicas: Replicas, **config: Any) -> TestClient:
    app = FastAPI()
    add_error_handlers(app)
    app.include_router(chaos_routes("/api/v1", ChaosConfig(**config), replicas))
    return TestClient(app, base_url="http://test/api/v1/chaos")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/status"),
        ("GET", "/types"),
        ("POST", "/enable"),
        ("POST", "/disable"),
        ("POST", "/reset"),
        ("PUT", "/config"),
    ],
)
def test_it_is_off_unless_a_setting_says_so_and_the_admins(method: str, path: str) -> None:
    replicas = Replicas()
    body = {"probability": 1} if method == "PUT" else None
    answer = client(replicas).request(method, path, json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (503, "E4006")
    assert {exchange.status for exchange in replicas.predict(20)} == {200}
    assert needed(method, f"/api/v1/chaos{path}") == "admin"


def test_production_refuses_to_start_with_it() -> None:
    keys = {"access": {"required": False}, "chaos": {"enabled": True}}
    with pytest.raises(ConfigError, match=r"chaos\.enabled=True with profile=production"):
        load_config({"profile": "production", **keys}, environ={})
    assert load_config({"profile": "staging", **keys}, environ={}).chaos.enabled


def test_all_replicas_make_faults_that_are_marked_until_time_is_up(monkeypatch) -> None:
    now_s = [1_000.0]
    monkeypatch.setattr(chaos.time, "monotonic", lambda: now_s[0])
    replicas = Replicas()
    http = client(replicas, enabled=True)
    status = http.post("/enable", json={"probability": 0.5, "latency_ms_max": 800, "seconds": 60})
    assert status.json()["enabled"]
    done = replicas.predict(200)
    failed = [exchange for exchange in done if exchange.status == 503]
    late = [one for one in done if one.status == 200 and one.marks]
    assert {exchange.marks for exchange in failed} == {((b"x-chaos", b"error"),)}
    assert {exchange.marks for exchange in late} == {((b"x-chaos", b"latency"),)}
    assert len(late) == len(replicas.waited)
    assert 0 < max(replicas.waited) <= 0.8
    assert replicas.counted() == {"error": len(failed), "latency": len(late)}
    found = http.get("/status").json()
    assert (found["total_requests"], found["chaos_injected"]) == (400, len(failed) + len(late))
    assert 0.4 < found["chaos_rate"] < 0.6
    assert found["configured_probability"] == 0.5
    now_s[0] += 61
    assert not http.get("/status").json()["enabled"]
    assert not any(exchange.marks for exchange in replicas.predict(50))


def test_config_begins_nothing_and_disable_and_reset_end_it() -> None:
    replicas = Replicas()
    http = client(replicas, enabled=True)
    only_errors = {"probability": 1, "chaos_types": ["error"]}
    assert not http.put("/config", json=only_errors).json()["enabled"]
    assert {exchange.status for exchange in replicas.predict(5)} == {200}
    assert http.post("/enable").json()["chaos_types"] == ["error"]
    assert {exchange.status for exchange in replicas.predict(5)} == {503}
    assert not http.post("/disable").json()["enabled"]
    assert {exchange.status for exchange in replicas.predict(5)} == {200}
    cleared = http.post("/reset").json()
    assert (cleared["total_requests"], cleared["configured_probability"]) == (0, 0.1)
    assert http.get("/types").json() == ["latency", "error"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": 601},
        {"seconds": 0},
        {"probability": 1.1},
        {"latency_ms_max": 30_001},
        {"chaos_types": []},
        {"chaos_types": ["corruption"]},
        {"probabilty": 0.1},
    ],
)
def test_more_than_the_limits_is_refused(wrong: dict[str, Any]) -> None:
    replicas = Replicas()
    http = client(replicas, enabled=True, max_seconds=600)
    assert http.post("/enable", json=wrong).status_code == 422
    assert not any(exchange.marks for exchange in replicas.predict(20))
