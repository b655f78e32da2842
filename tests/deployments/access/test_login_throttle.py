"""Who tries keys is slowed down, and nobody else: by the address behind trusted proxies."""

from typing import Any

import httpx
import pytest
from front import with_front
from hypothesis import given
from hypothesis import strategies as st

from configs.schema.api_keys import new_key, write_keys
from configs.schema.app import AppConfig
from deployments.access.client_address import TrustedProxies
from deployments.access.login_throttle import LoginThrottle

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


def test_a_minute_of_wrong_keys_and_then_another() -> None:
    now = 0.0
    throttle = LoginThrottle(2, lambda: now)
    for _ in range(2):
        assert throttle.wait_s("a", "wrong") == 0
        throttle.failed("a")
    now = 20.0
    assert throttle.wait_s("a", "wrong") == 40
    assert throttle.wait_s("b", "wrong") == 0
    now = 60.0
    assert throttle.wait_s("a", "wrong") == 0
    throttle.failed("a")
    assert throttle.wait_s("a", "wrong") == 0


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


def test_an_address_is_shut_out_and_others_are_not() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        assert await ask(client, KEY, "1.1.1.1") == 200
        statuses = [await ask(client, f"guess-{i}", "1.1.1.1") for i in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        # Who was right from there before goes on; even the right key is not tried otherwise.
        assert await ask(client, KEY, "1.1.1.1") == 200
        assert await ask(client, "guess", "2.2.2.2") == 401
        statuses = [await ask(client, "guess", "2.2.2.2") for _ in range(3)]
        assert statuses == [401, 401, 429]
        assert await ask(client, KEY, "2.2.2.2") == 429
        assert await ask(client, KEY, "3.3.3.3") == 200

    with_front(config(max_failed_logins=3, trusted_proxies=["127.0.0.0/8"]), body)


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
