"""Kafka's password, kept in a real OpenBao and changed while messages flow."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from front import LocalHandle, Stages, no_stages
from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError
from sasl import SaslFront
from stream_member import Member, member_config

from benchmarks.harness.servers import KafkaServer
from benchmarks.harness.stream_messages import Sent, messages
from configs.schema.app import AppConfig
from configs.schema.dependencies import VaultConfig
from configs.schema.stream import StreamConfig
from deployments.clients.vault import SecretWatch
from deployments.serve_options import EngineShare
from deployments.stream import client_options as options
from deployments.stream.client_patches import SaslLogin, make
from deployments.stream.deployment import Stream
from tests.system.openbao import Bao

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.usefixtures("sockets_of_kafka_python"),
]
NAME = "stream.password"


@pytest.fixture
def bao(tmp_path: Path) -> Iterator[Bao]:
    with Bao(tmp_path) as bao:
        yield bao


@pytest.fixture
def front() -> Iterator[SaslFront]:
    with SaslFront("one") as front:
        yield front


@pytest.fixture
def broker(tmp_path: Path, front: SaslFront) -> Iterator[KafkaServer]:
    with KafkaServer(tmp_path, behind=front.port) as server:
        front.before(server.port)
        yield server


def login_of(password: str) -> dict[str, Any]:
    how = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"}
    return {**how, "username": "me", "password": password}


def config_of(front: SaslFront, password: str) -> StreamConfig:
    servers = {"bootstrap_servers": [f"127.0.0.1:{front.port}"]}
    return StreamConfig.model_validate({**servers, **login_of(password)})


def send(front: SaslFront, sent: list[Sent]) -> None:
    config = config_of(front, front.password)
    with make(KafkaProducer, options.producer(config), SaslLogin(config)) as producer:
        for message in sent:
            producer.send(config.requests_topic, message.value)


async def until(is_so: Callable[[], bool], wait_s: float = 90) -> None:
    deadline_s = time.monotonic() + wait_s
    while not is_so():
        assert time.monotonic() < deadline_s, "waited in vain"
        await asyncio.sleep(0.02)


def with_member(config: AppConfig, body: Callable[[Member], Awaitable[None]]) -> None:
    async def run() -> None:
        member = Member(config, Stages(0.005))
        try:
            await body(member)
        finally:
            await member.stop()

    asyncio.run(run())


def test_a_password_that_vault_changes_is_used_where_the_old_one_ends(
    bao: Bao, front: SaslFront, broker: KafkaServer
) -> None:
    config = member_config(f"127.0.0.1:{front.port}", **login_of("one"))
    texts = list(messages(["a text"], 60, 0))

    async def body(member: Member) -> None:
        watch = SecretWatch(
            VaultConfig(**bao.settings(refresh_ms=100)), {NAME: member.login.replace}
        )
        bao.put(NAME, "one")
        await watch.start()
        await asyncio.to_thread(send, front, texts[:20])
        await until(lambda: member.total("kafka_messages_processed_total") == 20)
        # Logins are for the life of a connection: nothing happens yet.
        bao.put(NAME, "two")
        await until(lambda: member.login.password == "two")
        front.password = "two"
        refused = front.refused
        assert set(front.taken) == {"one"}
        front.drop()
        await asyncio.to_thread(send, front, texts[20:40])
        await until(lambda: member.total("kafka_messages_processed_total") == 40)
        assert (set(front.taken), front.refused) == ({"one", "two"}, refused)
        # The other way round: the brokers are first, and Vault comes after.
        front.password = "three"
        front.drop()
        await until(lambda: front.refused > refused)
        bao.put(NAME, "three")
        await asyncio.to_thread(send, front, texts[40:])
        await until(lambda: member.total("kafka_messages_processed_total") >= 60)
        assert (member.reader.alive, member.writer.alive) == (True, True)
        watch.stop()

    with_member(config, body)


def test_a_client_that_is_not_let_in_leaves_nothing_behind(
    front: SaslFront, broker: KafkaServer
) -> None:
    config = config_of(front, "wrong")
    before = threading.active_count()
    arguments = {**options.consumer(config), "bootstrap_timeout_ms": 300}
    for _ in range(3):
        with pytest.raises(KafkaError):
            make(KafkaConsumer, arguments, SaslLogin(config))
    assert front.refused >= 3
    assert threading.active_count() <= before


def test_the_deployment_asks_vault(bao: Bao, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.stream.deployment.open_stages", no_stages)

    async def body() -> None:
        bao.put(NAME, "one")
        given = {"enabled": True, "bootstrap_servers": ["127.0.0.1:1"]}
        config = AppConfig.model_validate(
            {"cache": {"l2": "none"}, "stream": given, "vault": bao.settings()}
        )
        stream = Stream.__new__(Stream)
        handle: Any = LocalHandle(Stages())
        await stream.__init__(  # type: ignore[misc]
            config, EngineShare(1, 1.0), tokenizer=handle, registry=handle, cache=None
        )
        login = stream._consumer._login
        assert login.password == "one"
        bao.put(NAME, "two")
        await until(lambda: login.password == "two")
        stopping = stream.__del__()
        assert stopping is not None
        await stopping

    asyncio.run(asyncio.wait_for(body(), 180))
