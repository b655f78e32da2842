"""The gate in front of the real ingress: every route, every way in, limits, browsers."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from fastapi.openapi.utils import get_openapi
from front import Stages, with_front
from signed_tokens import jwks, rsa_key, token
from starlette.routing import BaseRoute

from configs.schema.access import Role
from configs.schema.api_keys import new_key, write_keys
from configs.schema.app import AppConfig
from deployments.access.concurrency_limit import ReplicaSlots
from deployments.access.credentials import KeyRing
from deployments.access.middleware import Access
from deployments.access.rate_limit import ReplicaRates
from deployments.access.roles import RULES, needed, rule_of
from deployments.asgi.exchange import Exchange
from deployments.ingress.routes import PREDICT, PREDICT_BATCH, build_app
from deployments.jobs.routes import batch_routes
from deployments.rollout.registry_routes import registry_routes
from deployments.telemetry.metrics import Metrics

KEYS = {role: new_key(role, [role]) for role in get_args(Role)}
NOBODY, NO_ROLE = new_key("nobody", [])


def config(**access: Any) -> AppConfig:
    keys = write_keys([kept for _, kept in KEYS.values()] + [NO_ROLE])
    given = {"required": True, "api_keys": keys, **access}
    server = given.pop("server", {})
    return AppConfig.model_validate({"cache": {"l2": "none"}, "access": given, "server": server})


def as_(role: str) -> dict[str, str]:
    return {"X-API-Key": KEYS[role][0]}


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error_code"]


def every_route() -> Iterator[tuple[str, str]]:
    app = build_app(AppConfig(), object())  # type: ignore[arg-type]
    for path, operations in app.openapi()["paths"].items():
        for method in operations:
            yield method.upper(), path.replace("{", "").replace("}", "")
    yield from (("GET", path) for path in ("/v2", "/v2/health/live", "/v2/health/ready"))
    yield from (("GET", "/v2/models/m"), ("POST", "/v2/models/m/infer"))
    yield from (("GET", path) for path in ("/health", "/ready", "/metrics", "/api/v1/model/info"))
    yield "GET", "/api/v1/docs"
    yield "GET", "/api/v1/openapi.json"


def registry_paths() -> Iterator[tuple[str, str]]:
    routes = registry_routes(AppConfig())
    yield from paths_of(routes)


def paths_of(routes: Sequence[BaseRoute]) -> Iterator[tuple[str, str]]:
    for path, operations in get_openapi(title="", version="", routes=routes)["paths"].items():
        for method in operations:
            yield method.upper(), path.replace("{", "").replace("}", "")


def test_every_route_states_its_role() -> None:
    registry = list(registry_paths())
    assert len(registry) > 7
    assert {needed(*route) for route in registry} == {"registry-read", "registry-write"}
    batch = list(paths_of(batch_routes(AppConfig())))
    assert len(batch) == 8
    assert {needed(*route) for route in batch} == {"predict"}
    routes = [*every_route(), *registry, *batch]
    assert len(routes) > 7
    assert not [(method, path) for method, path in routes if rule_of(path) is None]
    assert needed("POST", PREDICT) == needed("POST", PREDICT_BATCH) == "predict"
    # Nothing else is open, nor below a path that only begins alike.
    for path in ("/api/v1", "/api/v1/healthy", "/healthy", "/api/v1/predictable", "//", ""):
        assert needed("GET", path) == "admin"
    assert needed("DELETE", "/api/v1/models/a/b/c/d/e/f") == "registry-write"
    for path in RULES:
        assert needed("POST", path) in {"predict", "explain", "review", "registry-write", "admin"}


@pytest.mark.parametrize("public", [(), ("service", "health"), ("metrics", "docs")])
def test_every_route_asks_for_what_it_states(public: tuple[str, ...]) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        for method, path in every_route():
            need = needed(method, path)
            bare = await client.request(method, path, json={"text": "a", "texts": ["a"]})
            if need in public:
                assert bare.status_code not in (401, 403), path
                continue
            assert code(bare) == (401, "E3002"), path
            assert "ApiKey" in bare.headers["www-authenticate"]
            unknown = await client.request(method, path, headers={"X-API-Key": "sg_guess"})
            assert code(unknown) == (401, "E3002"), path
            for role in KEYS:
                answer = await client.request(method, path, headers=as_(role), json={})
                allowed = need not in KEYS or role in (need, "admin")
                assert (answer.status_code not in (401, 403)) is allowed, (path, role)
            if need in KEYS:
                none = await client.request(method, path, headers={"X-API-Key": NOBODY})
                assert code(none) == (403, "E3002")

    with_front(config(public=public), body)


def test_open_access_asks_nobody() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        assert (await client.post(PREDICT, json={"text": "a"})).status_code == 200

    with_front(AppConfig.model_validate({"cache": {"l2": "none"}}), body)


def test_refusals_are_counted_and_say_nothing_of_the_key(caplog: pytest.LogCaptureFixture) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        wrong = {"X-API-Key": "sg_wrong-and-s3cret"}
        for headers in (wrong, as_("registry-read"), {"Authorization": "Bearer s3cret.a.b"}):
            answer = await client.post(PREDICT, json={"text": "words of s3cret"}, headers=headers)
            assert "s3cret" not in answer.text
            assert answer.headers["x-correlation-id"]
        page = (await client.get("/api/v1/metrics", headers=as_("predict"))).text
        assert 'sentiment_access_refusals_total{reason="unauthenticated"} 2.0' in page
        assert 'sentiment_access_refusals_total{reason="role"} 1.0' in page

    with caplog.at_level(logging.DEBUG):
        with_front(config(), body)
    assert "s3cret" not in caplog.text
    for key, _ in KEYS.values():
        assert key not in caplog.text


def test_a_single_key_opens_everything() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        headers = {"X-API-Key": "chosen-key-1"}
        assert (await client.post(PREDICT, json={"text": "a"}, headers=headers)).status_code == 200
        assert code(await client.get("/api/v1/nothing", headers=headers)) == (404, "E1001")

    with_front(config(api_key="chosen-key-1"), body)


def test_a_rate_lets_a_burst_pass_and_then_its_pace() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        started = time.monotonic()
        statuses: list[int] = []
        while time.monotonic() - started < 1:
            answer = await client.post(PREDICT, json={"text": "a"}, headers=as_("predict"))
            statuses.append(answer.status_code)
            if answer.status_code == 429:
                assert code(answer) == (429, "E4003")
                assert int(answer.headers["retry-after"]) >= 1
                await asyncio.sleep(0.005)
        passed_s = time.monotonic() - started
        assert 0 <= statuses.count(200) - 20 <= 5 * passed_s + 1
        assert 429 in statuses
        other = await client.post(PREDICT, json={"text": "a"}, headers=as_("admin"))
        assert other.status_code == 200

    with_front(config(requests_per_s=5, burst_s=4), body)


def test_requests_at_once_are_limited_and_given_back() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        def ask(text: str) -> Any:
            return client.post(PREDICT, json={"text": text}, headers=as_("predict"))

        first = await asyncio.gather(*(ask(str(i)) for i in range(5)))
        assert sorted(answer.status_code for answer in first) == [200, 200, 429, 429, 429]
        assert (await ask("later")).status_code == 200

    with_front(config(max_concurrent=2), body, stages=Stages(delay_s=0.1))


@pytest.fixture
def provider() -> Iterator[tuple[str, dict[str, Any]]]:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(shown).encode())

        def log_message(self, *_: object) -> None:
            pass

    shown: dict[str, Any] = jwks()
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/jwks", shown
    server.shutdown()
    thread.join()
    server.server_close()


def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {token()}"}


def test_tokens_by_a_file_of_keys(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        answer = await client.post(PREDICT, json={"text": "a"}, headers=bearer())
        assert answer.status_code == 200
        forged = {"Authorization": f"Bearer {token(iss='https://evil')}"}
        assert code(await client.post(PREDICT, json={"text": "a"}, headers=forged)) == (
            401,
            "E3002",
        )
        assert (await client.get("/api/v1/models/live", headers=bearer())).status_code == 403

    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(jwks(rsa_key())))
    with_front(config(jwt={"jwks": str(file), "issuer": "https://id", "audience": "api"}), body)


def test_new_keys_of_a_provider_are_picked_up(provider: tuple[str, dict[str, Any]]) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        answer = await client.post(PREDICT, json={"text": "a"}, headers=bearer())
        assert answer.status_code == 401
        shown["keys"] = [rsa_key()]
        for _ in range(40):
            await asyncio.sleep(0.05)
            answer = await client.post(PREDICT, json={"text": "a"}, headers=bearer())
            if answer.status_code == 200:
                return
        pytest.fail("the new key was not read")

    url, shown = provider
    settings = {"jwks": url, "issuer": "https://id", "audience": "api", "refresh_s": 1}
    with_front(config(jwt=settings), body)


def test_browsers_of_allowed_origins_only() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        asks = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-api-key",
        }
        allowed = await client.options(PREDICT, headers={"Origin": "https://shop.example", **asks})
        assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
        refused = await client.options(PREDICT, headers={"Origin": "https://evil.example", **asks})
        assert "access-control-allow-origin" not in refused.headers
        answer = await client.post(
            PREDICT, json={"text": "a"}, headers={"Origin": "https://shop.example", **as_("admin")}
        )
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert "access-control-allow-credentials" not in answer.headers

    with_front(config(server={"cors_origins": ["https://shop.example"]}), body)


def test_every_answer_carries_security_headers() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        for path in ("/", "/api/v1/predict", "/api/v1/nothing", "/api/v1/metrics"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["cache-control"] == "no-store"
            assert headers["referrer-policy"] == "no-referrer"

    with_front(config(), body)


def test_the_gate_costs_little() -> None:
    """CPU time of the gate alone: a key and a remembered token, with a rate and a limit."""

    async def body() -> None:
        jwt_settings = {"jwks": "x", "issuer": "https://id", "audience": "api"}
        access_config = config(requests_per_s=1e6, max_concurrent=9, jwt=jwt_settings).access
        access = Access(
            access_config,
            KeyRing(access_config),
            Metrics(),
            rates=ReplicaRates(access_config.burst_s),
            slots=ReplicaSlots(),
        )
        access._tokens.replace(jwks(rsa_key()))

        async def route(_: Exchange) -> None:
            pass

        guarded = access.around(route)
        for headers in (as_("predict"), bearer()):
            raw = [(k.lower().encode(), v.encode()) for k, v in headers.items()]
            scope = {"type": "http", "method": "POST", "path": PREDICT, "headers": raw}
            exchange = Exchange(scope, None, None)  # type: ignore[arg-type]
            await guarded(exchange)
            started = time.process_time()
            for _ in range(2_000):
                await guarded(exchange)
            assert (time.process_time() - started) / 2_000 < 100e-6

    asyncio.run(body())
