"""The client's address is HAProxy's word, by the cluster's key, and nobody else's."""

import asyncio
from pathlib import Path

import httpx
import pytest
from front import Stages, make_front, with_front

from configs.errors import ConfigError
from configs.schema.app import AppConfig
from configs.sources.front_key import FRONT_HEADER, front_key
from deployments.access.client_address import ClientAddresses
from deployments.asgi.exchange import Exchange

KEY = front_key({"RAY_AUTH_TOKEN": "a" * 64})
PREDICT = "/api/v1/predict"


def exchange(peer: str, **headers: str) -> Exchange:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "headers": raw, "client": (peer, 1), "path": "/", "method": "GET"}
    return Exchange(scope, None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, ("10.0.0.9", False)),
        ({"x_sentigraph_front": f"{KEY} 203.0.113.7"}, ("203.0.113.7", True)),
        ({"x_sentigraph_front": f"{'0' * 32} 203.0.113.7"}, ("10.0.0.9", False)),
        ({"x_sentigraph_front": " 203.0.113.7"}, ("10.0.0.9", False)),
        ({"x_sentigraph_front": f"{KEY} nonsense"}, ("", True)),
        ({"x_sentigraph_front": f"{KEY} 2001:db8:1:2:3::4"}, ("2001:db8:1:2::", True)),
        # A gateway that is trusted stands between; a client that says so does not.
        (
            {"x_sentigraph_front": f"{KEY} 10.1.0.1", "x_forwarded_for": "1.1.1.1, 2.2.2.2"},
            ("2.2.2.2", True),
        ),
        (
            {"x_sentigraph_front": f"{KEY} 203.0.113.7", "x_forwarded_for": "1.1.1.1"},
            ("203.0.113.7", True),
        ),
    ],
)
def test_the_address(headers: dict[str, str], found: tuple[str, bool]) -> None:
    assert ClientAddresses(["10.1.0.0/16"], KEY).of(exchange("10.0.0.9", **headers)) == found


def test_without_a_key_no_header_is_believed() -> None:
    asked = exchange("10.0.0.9", x_sentigraph_front=" 203.0.113.7")
    assert ClientAddresses([], "").of(asked) == ("10.0.0.9", False)


def test_the_key_follows_rays_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a" * 64 + "\n")
    assert front_key({"RAY_AUTH_TOKEN_PATH": str(file)}) == KEY
    assert front_key({"RAY_AUTH_TOKEN": "b" * 64}) != KEY
    assert "a" * 16 not in KEY
    assert front_key({"RAY_AUTH_TOKEN": "a" * 64, "RAY_AUTH_MODE": "disabled"}) == ""
    assert front_key({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "absent")}) == ""


@pytest.mark.parametrize("front_only", [True, False])
def test_a_replicas_own_port_is_haproxys_alone(
    front_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)

    async def body(client: httpx.AsyncClient) -> None:
        asked = {"json": {"text": "a"}}
        direct = await client.post(PREDICT, **asked)  # type: ignore[arg-type]
        assert direct.status_code == (403 if front_only else 200)
        through = {FRONT_HEADER: f"{KEY} 203.0.113.7"}
        assert (await client.post(PREDICT, headers=through, **asked)).status_code == 200  # type: ignore[arg-type]

    config = {"cache": {"l2": "none"}, "server": {"front_only": front_only}}
    with_front(AppConfig.model_validate(config), body)


def test_haproxy_alone_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    config = AppConfig.model_validate({"server": {"front_only": True}})

    async def run() -> None:
        async with make_front(config, Stages()):
            raise AssertionError

    with pytest.raises(ConfigError, match="no token"):
        asyncio.run(run())
