"""Wrong keys are limited by the address behind trusted proxies; right ones never are."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from front import with_front
from hypothesis import given
from hypothesis import strategies as st
from signed_tokens import jwks, rsa_key, token

from configs.schema.api_keys import new_key, write_keys
from configs.schema.app import AppConfig
from deployments.access.client_address import TrustedProxies
from deployments.access.rate_limit import TokenBuckets
from operations.local_stack.ports import PortBlock
from operations.local_stack.ray_node import serve_environment

PREDICT = "/api/v1/predict"
KEY, KEPT = new_key("shop", ["predict"])


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("8.8.8.8", None, "8.8.8.8"),
        ("8.8.8.8", "1.1.1.1", "8.8.8.8"),  # anybody can say anything
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "1.1.1.1, 2.2.2.2", "2.2.2.2"),  # the first was 2.2.2.2's own word
        ("10.0.0.1", "1.1.1.1, 2.2.2.2, 10.9.9.9", "2.2.2.2"),
        ("10.0.0.1", "1.1.1.1,10.9.9.9 , 10.8.8.8", "1.1.1.1"),
        ("10.0.0.1", "1.1.1.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", "10.1.1.1", "10.1.1.1"),
        ("::ffff:10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("", "1.1.1.1", ""),
    ],
)
def test_the_header_is_believed_as_far_as_proxies_are_trusted(
    peer: str, header: str | None, client: str
) -> None:
    assert TrustedProxies(["10.0.0.0/8"]).client(peer, header) == client


@given(st.text(), st.text())
def test_any_header_gives_an_address_or_the_peer(peer: str, header: str) -> None:
    proxies = TrustedProxies(["0.0.0.0/0", "::/0"])
    assert proxies.client("10.0.0.1", header)
    proxies.client(peer, header)


def test_buckets_are_apart_and_fill_again() -> None:
    now = 0.0
    buckets = TokenBuckets(lambda: now)
    assert [buckets.take("a", 0.1, 2) for _ in range(3)] == [0, 0, 10]
    assert buckets.take("b", 0.1, 2) == 0
    now = 4.0
    assert buckets.take("a", 0.1, 2) == pytest.approx(6)
    now = 10.0
    assert buckets.take("a", 0.1, 2) == 0


def config(**access: Any) -> AppConfig:
    keys = {"required": True, "api_keys": write_keys([KEPT]), **access}
    return AppConfig.model_validate({"cache": {"l2": "none"}, "access": keys})


async def ask(client: httpx.AsyncClient, key: str, forwarded_for: str) -> int:
    headers = {"X-API-Key": key, "X-Forwarded-For": forwarded_for}
    answer = await client.post(PREDICT, json={"text": "a"}, headers=headers)
    if answer.status_code == 429:
        assert answer.json()["error_code"] == "E4003"
        assert 1 <= int(answer.headers["retry-after"]) <= 60
    return answer.status_code


def test_wrong_keys_of_an_address_are_limited_and_right_ones_go_on() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        statuses = [await ask(client, f"guess-{i}", "1.1.1.1") for i in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        # A key that was never seen before, from the very address that sends wrong ones.
        assert await ask(client, KEY, "1.1.1.1") == 200
        assert await ask(client, "guess", "1.1.1.1") == 429
        assert await ask(client, "guess", "2.2.2.2") == 401

    with_front(config(max_failed_logins=3, trusted_proxies=["127.0.0.0/8"]), body)


def test_a_fresh_token_is_taken_beside_wrong_ones(tmp_path: Path) -> None:
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps(jwks(rsa_key())))
    provider = {"jwks": str(keys), "issuer": "https://id", "audience": "api"}

    async def body(client: httpx.AsyncClient) -> None:
        async def bearer(text: str) -> int:
            headers = {"Authorization": f"Bearer {text}"}
            return (await client.post(PREDICT, json={"text": "a"}, headers=headers)).status_code

        assert [await bearer("wrong") for _ in range(4)] == [401, 401, 401, 429]
        assert [await bearer(token(sub=f"person-{i}")) for i in range(3)] == [200] * 3
        assert await ask(client, KEY, "") == 200

    with_front(config(max_failed_logins=3, jwt=provider), body)


def test_uvicorn_leaves_the_clients_address_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the local stack sets keeps a client from choosing the address that is counted."""
    environment = serve_environment(PortBlock(30_000), Path("/run"))
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", environment["FORWARDED_ALLOW_IPS"])
    seen = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["client"])

    server = uvicorn.Config(app, interface="asgi3", log_config=None)
    server.load()
    scope = {
        "type": "http",
        "client": ("127.0.0.1", 40_000),
        "headers": [(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-proto", b"https")],
        "scheme": "http",
    }
    asyncio.run(server.loaded_app(scope, None, None))  # type: ignore[arg-type]
    assert seen == [("127.0.0.1", 40_000)]


def test_without_trusted_proxies_the_header_moves_nobody() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        statuses = [await ask(client, "guess", f"1.1.1.{i}") for i in range(4)]
        assert statuses == [401, 401, 401, 429]

    with_front(config(max_failed_logins=3), body)


def test_no_limit_is_no_limit() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        assert {await ask(client, "guess", "1.1.1.1") for _ in range(200)} == {401}

    with_front(config(max_failed_logins=0), body)


def test_a_network_has_to_be_one() -> None:
    with pytest.raises(ValueError, match="trusted_proxies"):
        config(trusted_proxies=["gateway"])
