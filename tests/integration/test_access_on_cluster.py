"""Keys from a real Vault, rates and cache in a real Redis, two ingresses, everything failing once.

Redeploys the application of the run with access control and puts it back.
"""

import asyncio
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from test_cluster import deploy, deployed_config, with_args

from benchmarks.harness.servers import RedisServer
from configs.schema.api_keys import new_key, write_keys
from operations.local_stack.stack import Stack
from tests.system.openbao import Bao

REDIS_PASSWORD = "pa55word-of-redis"
PREDICT = "/api/v1/predict"
RATE, SECONDS = 10.0, 8.0


@dataclass
class Guarded:
    """The stack behind its gate."""

    url: str
    redis: RedisServer
    bao: Bao
    keys: dict[str, str]
    texts: list[str] = field(default_factory=list)

    def headers(self, name: str) -> dict[str, str]:
        return {"X-API-Key": self.keys[name], "X-Deadline-Ms": "20000"}


@pytest.fixture(scope="module")
def guarded(
    stack: Stack, vault_token: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("servers")
    original = deployed_config(stack)
    made = {name: new_key(name, [role]) for name, role in (("shop", "predict"), ("ops", "admin"))}
    slow, kept = new_key("slow", ["predict"])
    kept_keys = [entry for _, entry in made.values()]
    kept_keys.append(kept.model_copy(update={"requests_per_s": RATE}))
    with RedisServer(folder, password=REDIS_PASSWORD) as redis, Bao(folder) as bao:
        bao.token(id=vault_token)
        bao.put("access.api_keys", write_keys(kept_keys))
        bao.put("redis.password", REDIS_PASSWORD)
        args = {
            "server": {"log_level": "DEBUG"},
            "vault": {"enabled": True, "address": bao.url, "refresh_ms": 500},
            "redis": {"host": "127.0.0.1", "port": redis.port},
            "cache": {"l2": "redis", "l1_max_bytes": 0, "l2_timeout_ms": 500},
            "access": {
                "required": True,
                "rate_store": "redis",
                "burst_s": 1.0,
                "rate_timeout_ms": 1_000,
            },
            "breaker": {"recovery_ms": 500},
            # Small, so that two cores have room for a new replica of the model beside the old.
            "replicas": {"ingress": {"num_replicas": 2, "num_cpus": 0.02}},
        }
        try:
            deploy(stack, with_args(original, args), folder)
            keys = {"slow": slow, **{name: key for name, (key, _) in made.items()}}
            yield Guarded(stack.url, redis, bao, keys)
        finally:
            deploy(stack, original, folder)


def test_only_keys_of_vault_open_the_door(guarded: Guarded) -> None:
    with httpx.Client(base_url=guarded.url, timeout=30) as client:
        for _ in range(10):  # both ingresses
            assert client.post(PREDICT, json={"text": "a"}).status_code == 401
            shop = guarded.headers("shop")
            assert client.post(PREDICT, json={"text": "a"}, headers=shop).status_code == 200
            assert client.get("/api/v1/models/live", headers=shop).status_code == 403
        assert client.get("/api/v1/models/live", headers=guarded.headers("ops")).status_code == 200
        assert client.get("/api/v1/health/ready").json()["checks"]["cache"] == "ok"


def test_a_header_moves_no_wrong_key_and_right_ones_go_on(guarded: Guarded) -> None:
    with httpx.Client(base_url=guarded.url, timeout=30) as client:

        def guess(number: int) -> int:
            headers = {"X-API-Key": f"guess-{number}", "X-Forwarded-For": f"203.0.113.{number}"}
            return client.post(PREDICT, json={"text": "a"}, headers=headers).status_code

        # Both ingresses take 100 in a minute of the one address that all come from, HAProxy's.
        statuses = [guess(number % 250) for number in range(260)]
        assert (statuses[0], statuses[-1], set(statuses)) == (401, 429, {401, 429})
        for name in ("shop", "ops"):
            headers = guarded.headers(name)
            answers = [client.post(PREDICT, json={"text": "a"}, headers=headers) for _ in range(6)]
            assert {answer.status_code for answer in answers} == {200}


def test_ingresses_share_what_redis_remembers(guarded: Guarded) -> None:
    text = f"a parcel that {uuid.uuid4()} remembers"
    guarded.texts.append(text)
    answers = []
    for _ in range(40):
        answer = httpx.post(
            guarded.url + PREDICT, json={"text": text}, headers=guarded.headers("shop")
        )
        answers.append(answer.json())
    assert not answers[0]["cached"]
    # Most lookups are left out where the engine is as quick as Redis.
    assert any(answer["cached"] for answer in answers)
    assert len({answer["score"] for answer in answers}) == 1
    assert any(b":prediction:" in name for name in guarded.redis.client().keys("*"))


class Load(threading.Thread):
    """One client's different texts, with every status."""

    def __init__(self, guarded: Guarded) -> None:
        super().__init__(daemon=True)
        self._guarded = guarded
        self._ended = threading.Event()
        self.statuses: list[int | str] = []

    def run(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._ended.is_set():
                text = f"really good service {uuid.uuid4()}"
                self._guarded.texts.append(text)
                headers = self._guarded.headers("shop")
                try:
                    answer = client.post(
                        self._guarded.url + PREDICT, json={"text": text}, headers=headers
                    )
                    self.statuses.append(answer.status_code)
                except httpx.HTTPError as error:
                    self.statuses.append(repr(error))

    def end(self) -> list[int | str]:
        self._ended.set()
        self.join(60)
        return self.statuses


def test_redis_and_vault_may_fail_in_every_way(guarded: Guarded) -> None:
    clients = [Load(guarded) for _ in range(3)]
    for client in clients:
        client.start()
    for step in (
        lambda: guarded.redis.signal(signal.SIGSTOP),
        guarded.bao.root.sys.seal,
        lambda: guarded.redis.signal(signal.SIGCONT),
        guarded.redis.stop,
        guarded.redis.start,
        guarded.bao.unseal,
    ):
        time.sleep(1.5)
        step()
    time.sleep(1.5)
    statuses = [status for client in clients for status in client.end()]
    assert len(statuses) > 50
    assert set(statuses) == {200}


def test_a_rate_is_one_over_both_ingresses(guarded: Guarded) -> None:
    """Three times the rate: what passes is the rate, within 2 %."""

    async def body() -> None:
        async with httpx.AsyncClient(base_url=guarded.url, timeout=30) as client:
            json, headers = {"text": "the same words"}, guarded.headers("slow")
            await client.post(PREDICT, json=json, headers=headers)
            await asyncio.sleep(2)  # the bucket is full again
            started = time.monotonic()
            pending: set[asyncio.Task[httpx.Response]] = set()
            sent = 0
            while time.monotonic() - started < SECONDS:
                pending.add(asyncio.create_task(client.post(PREDICT, json=json, headers=headers)))
                sent += 1
                await asyncio.sleep(max(0.0, started + sent / (3 * RATE) - time.monotonic()))
            statuses = [(await answer).status_code for answer in pending]
            elapsed_s = time.monotonic() - started
        # A busy machine may not manage to offer more than the rate.
        allowed = min(sent, RATE * SECONDS + RATE)
        assert set(statuses) <= {200, 429}
        # What was sent before the end may be counted until the last answer.
        late = RATE * (elapsed_s - SECONDS)
        assert 0.98 * allowed <= statuses.count(200) <= 1.02 * (allowed + late)

    asyncio.run(body())


def test_no_log_holds_a_secret_or_a_text(stack: Stack, guarded: Guarded) -> None:
    secrets = [*guarded.keys.values(), REDIS_PASSWORD, guarded.bao.root.token, guarded.bao.key]
    assert len(guarded.texts) > 50
    wanted = [needle.encode() for needle in [*secrets, *guarded.texts[:200], "the same words"]]
    folders = os.walk(stack.logs, followlinks=True)  # Ray's own are behind a link
    files = [Path(folder) / name for folder, _, names in folders for name in names]
    files = [file for file in files if file.is_file()]
    assert any("replica" in file.name for file in files)
    assert sum(file.stat().st_size for file in files) > 10_000
    seen: dict[str, Any] = {}
    for file in files:
        content = file.read_bytes()
        seen.update({needle.decode(): file for needle in wanted if needle in content})
    assert not seen
