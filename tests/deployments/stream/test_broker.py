"""Reader, pump and writer against a real broker of the Kafka protocol (tansu).

What that broker cannot show is listed in ``benchmarks/harness/servers.py``.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from front import Stages
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from stream_member import Member, member_config

from benchmarks.harness.kafka import Collector, broker, produce
from benchmarks.harness.servers import KafkaServer
from benchmarks.harness.stream_messages import is_right, messages
from cli.__main__ import main as sentigraph
from deployments.stream.client_patches import SaslLogin
from deployments.stream.producer import Producer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.usefixtures("sockets_of_kafka_python"),
]
MEMBER = Path(__file__).parents[1] / "stream_member.py"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KafkaServer]:
    with broker(tmp_path, partitions=4) as server:
        yield server


@pytest.fixture
def collector(server: KafkaServer) -> Iterator[Collector]:
    collector = Collector(server.address)
    yield collector
    collector.close()


def member_process(server: KafkaServer) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join((str(MEMBER.parents[2]), str(MEMBER.parent)))
    return subprocess.Popen(
        [sys.executable, str(MEMBER), server.address], env={**os.environ, "PYTHONPATH": paths}
    )


async def until(is_so: Callable[[], bool], wait_s: float = 30) -> None:
    deadline_s = time.monotonic() + wait_s
    while not is_so():
        assert time.monotonic() < deadline_s, "waited in vain"
        await asyncio.sleep(0.02)


def with_member(
    server: KafkaServer, body: Callable[[Member, Stages], Awaitable[None]], **stream: object
) -> None:
    async def run() -> None:
        stages = Stages(0.005)
        member = Member(member_config(server.address, **stream), stages)
        try:
            await body(member, stages)
        finally:
            await member.stop()

    asyncio.run(run())


def committed(server: KafkaServer) -> list[int | None]:
    group = member_config(server.address).stream
    consumer = KafkaConsumer(bootstrap_servers=server.address, group_id=group.group)
    try:
        partitions = [TopicPartition(group.requests_topic, n) for n in range(4)]
        return [consumer.committed(partition) for partition in partitions]
    finally:
        consumer.close()


def test_consumers_are_killed_and_nothing_is_lost_or_answered_twice_differently(
    server: KafkaServer, collector: Collector
) -> None:
    sent = list(messages([f"text {i}" for i in range(400)], 600, 25))
    produce(server.address, sent)
    members = [member_process(server) for _ in range(2)]
    try:
        # Both of them once: the group may have given all partitions to the other one.
        for share, victims in ((0.2, 1), (0.5, 2), (0.75, 1)):
            collector.wait(int(share * len(sent)), 60)
            for victim in members[:victims]:
                os.kill(victim.pid, signal.SIGKILL)
                victim.wait()
            members = [*members[victims:], *(member_process(server) for _ in range(victims))]
        collector.wait(len(sent), 60)
    finally:
        for member in members:
            member.kill()
            member.wait()
    verdict = collector.ledger.verdict(sent)
    assert is_right(verdict), verdict
    assert verdict["valid"] == 576
    assert verdict["malformed"] == 24
    assert verdict["repeated_results"] > 0, "no kill came between a result and its commit"
    assert verdict["repeated_with_other_decimals"] == 0


def test_a_full_pipe_is_paused_and_what_is_acknowledged_is_committed(
    server: KafkaServer, collector: Collector
) -> None:
    sent = list(messages([f"text {i}" for i in range(200)], 200, 0))
    produce(server.address, sent)

    async def body(member: Member, stages: Stages) -> None:
        stages.delay_s = 0.3
        await until(lambda: member.reader.tracker.in_flight == 32)
        most = 0
        while collector.ledger.settled < 100:
            most = max(most, member.reader.tracker.in_flight)
            await asyncio.sleep(0.01)
        assert most == 32
        stages.delay_s = 0.0
        await until(lambda: member.total("kafka_messages_processed_total") == 200)
        await until(lambda: sum(member.reader.lag.values()) == 0 and len(member.reader.lag) == 4)

    with_member(server, body, max_in_flight=32, max_poll_records=8)
    assert sum(offset or 0 for offset in committed(server)) == 200


def test_a_broker_that_stops_is_seen_and_waited_for(
    server: KafkaServer, collector: Collector
) -> None:
    async def body(member: Member, stages: Stages) -> None:
        await until(lambda: member.reader.connected)
        produce(server.address, list(messages(["before"], 1, 0)))
        await until(lambda: collector.ledger.settled == 1)
        server.signal(signal.SIGSTOP)
        await until(lambda: not member.reader.connected)
        server.signal(signal.SIGCONT)
        await until(lambda: member.reader.connected)
        produce(server.address, list(messages(["after"], 2, 0))[1:])
        await until(lambda: collector.ledger.settled == 2)

    with_member(server, body)


def test_without_a_broker_a_replica_starts_and_its_breaker_opens(tmp_path: Path) -> None:
    server = KafkaServer(tmp_path)

    async def body(member: Member, stages: Stages) -> None:
        await until(lambda: "open" in member.states)
        assert not member.reader.connected
        assert member.reader.alive
        with server:
            await until(lambda: member.reader.connected)

    with_member(server, body)


def test_writing_without_a_broker_fails_the_batch_and_not_the_thread(tmp_path: Path) -> None:
    from deployments.stream.messages import Outgoing  # noqa: PLC0415

    async def body() -> None:
        config = member_config("127.0.0.1:1").stream
        writer = Producer(config, SaslLogin(config))
        (answer,) = await writer.send([Outgoing("t", b"k", b"v")])
        assert answer is not None
        assert writer.alive
        assert await writer.send([]) == []
        writer.close()

    asyncio.run(body())


def test_dead_letters_are_listed_shown_and_sent_again(
    server: KafkaServer,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLOPS_STREAM__BOOTSTRAP_SERVERS", server.address)

    def said(*arguments: str) -> tuple[int, str]:
        status = sentigraph(["dlq", *arguments])
        return status, capsys.readouterr().out

    async def body(member: Member, stages: Stages) -> None:
        produce(server.address, list(messages(["text"], 8, 2)))
        await until(lambda: collector.ledger.settled == 8)
        rows = [
            json.loads(line)
            for line in (await asyncio.to_thread(said, "list", "--json"))[1].splitlines()
        ]
        assert len(rows) == 4
        assert {row["reason"] for row in rows} == {"E1001", "E1003"}
        assert all(row["origin"].startswith("sentiment_requests:") for row in rows)
        blank = next(row["letter"] for row in rows if row["reason"] == "E1003")
        status, shown = await asyncio.to_thread(said, "show", blank, "--content")
        assert (status, json.loads(shown)["content"]["message"]) == (
            0,
            '{"id": "blank", "text": "  \\n "}',
        )
        assert "content" not in json.loads((await asyncio.to_thread(said, "show", blank))[1])
        # What was sent again alone is not sent twice, neither alone nor with the others.
        status, out = await asyncio.to_thread(said, "redrive", blank)
        assert (status, out) == (0, "1 messages sent again\n")
        await until(lambda: collector.ledger.letters == 5)
        assert (await asyncio.to_thread(said, "redrive", blank))[0] == 1
        names = (await asyncio.to_thread(said, "list", "--json"))[1]
        assert blank not in [json.loads(line)["letter"] for line in names.splitlines()]
        status, out = await asyncio.to_thread(said, "redrive", "--all")
        assert (status, out) == (0, "4 messages sent again\n")
        # Still malformed: they come back as letters of their own, and only those are listed now.
        await until(lambda: collector.ledger.letters == 9)
        status, out = await asyncio.to_thread(said, "list")
        assert out.splitlines()[0].split()[:2] == ["letter", "reason"]
        assert len(out.splitlines()) == 5
        everything = (await asyncio.to_thread(said, "list", "--all", "--json"))[1].splitlines()
        assert [json.loads(line)["redriven"] for line in everything].count(True) == 5
        assert (await asyncio.to_thread(said, "redrive", blank, "--again"))[0] == 0
        assert (await asyncio.to_thread(said, "redrive", "0:999"))[0] == 1
        assert (await asyncio.to_thread(said, "redrive"))[0] == 1

    with_member(server, body)


def test_a_header_name_that_is_no_text_goes_to_the_dead_letters_alone(
    server: KafkaServer, collector: Collector
) -> None:
    class Bytes(str):
        __slots__ = ()

        def encode(self, *_: object) -> bytes:
            return b"\xff\xfe"

    async def body(member: Member, stages: Stages) -> None:
        with KafkaProducer(bootstrap_servers=server.address, linger_ms=200) as producer:
            for number in range(5):
                # One batch on one partition: the bad one in the middle of good ones.
                name = Bytes("x") if number == 2 else "x"
                value = json.dumps({"id": str(number), "text": "fine"}).encode()
                producer.send("sentiment_requests", value, headers=[(name, b"1")], partition=1)
        await until(lambda: collector.ledger.settled == 5)
        assert member.total("kafka_messages_processed_total") == 4
        await until(lambda: sum(member.reader.lag.values()) == 0)

    with_member(server, body)
    assert committed(server)[1] == 5


def test_a_producer_is_idempotent_on_this_broker(server: KafkaServer) -> None:
    from deployments.stream import client_options as options  # noqa: PLC0415

    arguments = options.producer(member_config(server.address).stream)
    with KafkaProducer(**arguments) as producer:
        assert producer.config["enable_idempotence"]
        assert producer.config["acks"] == -1
        assert producer.send("sentiment_responses", b"x").get(5).offset >= 0


def test_topics_and_commits_are_the_configured_ones(
    server: KafkaServer, collector: Collector
) -> None:
    async def body(member: Member, stages: Stages) -> None:
        with KafkaProducer(bootstrap_servers=server.address) as producer:
            producer.send("mine", b'{"id": "a", "text": "fine"}')
            producer.send("mine", b"{")
        await until(lambda: member.total("kafka_dlq_messages_total") == 1)
        await until(lambda: member.reader.tracker.in_flight == 0)
        # Nothing is committed before the interval is over, and then at the end at once.
        assert member.reader.tracker.to_commit()

    with_member(
        server,
        body,
        requests_topic="mine",
        responses_topic="answers",
        dlq_topic="dead",
        commit_interval_ms=60_000,
    )
    consumer = KafkaConsumer(bootstrap_servers=server.address, group_id="kubesentiment_consumer")
    partitions = [TopicPartition("mine", n) for n in consumer.partitions_for_topic("mine")]
    assert sum(consumer.committed(partition) or 0 for partition in partitions) == 2
    assert {"answers", "dead"} <= consumer.topics()
    consumer.close()
