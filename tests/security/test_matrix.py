"""Every route by method by identity, from the route table: nobody gets more than is due.

A route of the OpenAPI document without a rule of its own in ``access/roles.py`` fails here.
"""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import httpx
import pytest
from front import Stages, make_front

from configs.schema.access import Role
from configs.schema.api_keys import new_key, write_keys
from configs.schema.app import AppConfig
from deployments.access.roles import needed, rule_of

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
ROLES: tuple[Role, ...] = get_args(Role)
PUBLIC = ("service", "health")
PATHS = sorted(re.sub(r"\{[^}]+\}", "x", path) for path in DOCUMENT["paths"])
# What is the same route to a careless router is none here, or asks for the same.
TRICKS = ("/{}", "{}/", "{}//", "/.{}", "{};x=1", "{}%2f", "{}?", "/%2e%2e{}", "{}%00")


def made_keys() -> tuple[dict[str, str], str]:
    made = {role: new_key(role, [role]) for role in ROLES}
    made["expired"] = new_key("expired", ["admin"])
    yesterday = datetime.now(UTC) - timedelta(days=1)
    expired = made["expired"][1].model_copy(update={"expires_at": yesterday})
    kept = [entry for name, (_, entry) in made.items() if name != "expired"]
    return {name: key for name, (key, _) in made.items()}, write_keys([*kept, expired])


def due(identity: str, need: str) -> set[int]:
    """Refusals that are due; none where the route answers."""
    if need in PUBLIC:
        return set()
    if identity in ("none", "wrong", "expired", "bearer"):
        return {401}
    open_to_any_key = need in ("metrics", "docs")
    return set() if identity in ("admin", need) or open_to_any_key else {403}


def test_every_route_of_the_document_has_a_rule() -> None:
    assert not [path for path in DOCUMENT["paths"] if rule_of(path) is None]


@pytest.mark.parametrize("method", METHODS)
def test_the_gate_gives_nobody_more_than_is_due(method: str) -> None:
    keys, document = made_keys()
    headers: dict[str, dict[str, str]] = {name: {"X-API-Key": key} for name, key in keys.items()}
    headers |= {
        "none": {},
        "wrong": {"X-API-Key": "0123456789abcdef"},
        "bearer": {"Authorization": "Bearer e30.e30.e30"},
    }
    config = AppConfig.model_validate(
        {
            "cache": {"l2": "none"},
            "access": {"required": True, "api_keys": document, "max_failed_logins": 0},
        }
    )
    wrong: list[str] = []

    async def run() -> None:
        async with make_front(config, Stages()) as app:

            async def only_gate(scope, receive, send):  # type: ignore[no-untyped-def]
                await app({**scope, "method": method}, receive, send)

            transport = httpx.ASGITransport(only_gate, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
                for path in PATHS:
                    need = needed(method, path)
                    for identity, given in headers.items():
                        if due(identity, need) == set():
                            continue  # what the route does is its own tests' matter
                        answer = await client.get(path, headers=given)
                        if {answer.status_code} != due(identity, need):
                            wrong.append(f"{method} {path} {identity} {answer.status_code}")

    asyncio.run(run())
    assert not wrong


def test_no_spelling_of_a_guarded_path_is_open() -> None:
    _, document = made_keys()
    config = AppConfig.model_validate(
        {
            "cache": {"l2": "none"},
            "access": {"required": True, "api_keys": document, "max_failed_logins": 0},
        }
    )
    opened: list[str] = []

    async def run() -> None:
        async with make_front(config, Stages()) as app:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
                for path in PATHS:
                    if needed("GET", path) in PUBLIC:
                        continue
                    for trick in TRICKS:
                        url = httpx.URL("http://t", raw_path=trick.format(path).encode())
                        answer = await client.get(url)
                        if answer.status_code not in (400, 401, 404):
                            opened.append(f"{trick.format(path)} {answer.status_code}")

    asyncio.run(run())
    assert not opened
