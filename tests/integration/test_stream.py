"""Kafka end to end: real broker, real graph, a stream replica and a model replica killed."""

import json
import signal
import time

import httpx
import pytest

from benchmarks.harness.kafka import Collector, produce
from benchmarks.harness.processes import kill_one
from benchmarks.harness.servers import KafkaServer
from benchmarks.harness.stream_messages import is_right, messages
from operations.local_stack.stack import Stack

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.usefixtures("sockets_of_kafka_python"),
]


def test_texts_over_kafka_survive_the_loss_of_replicas(
    stack: Stack, client: httpx.Client, kafka: KafkaServer
) -> None:
    texts = [
        f"Message {i} says that the service was {'good' if i % 2 else 'bad'}." for i in range(300)
    ]
    sent = list(messages(texts, 400, 20))
    collector = Collector(kafka.address, b"m-")
    try:
        # In two parts: a replica may answer all of one before it is found and killed.
        produce(kafka.address, sent[:200])
        collector.wait(60, 60)
        kill_one(stack, "Stream")
        produce(kafka.address, sent[200:])
        collector.wait(260, 60)
        kill_one(stack, "Model")
        collector.wait(len(sent), 60)
    finally:
        collector.close()
    verdict = collector.ledger.verdict(sent)
    assert is_right(verdict), json.dumps(verdict)
    by_http = client.post("/predict", json={"text": texts[1]}).json()
    over_kafka = json.loads(collector.ledger.contents["m-0000001"].pop())
    assert over_kafka["label"] == by_http["label"]
    assert over_kafka["scores"] == pytest.approx(by_http["scores"], abs=2e-6)
    deadline_s = time.monotonic() + 20
    while (figures := client.get("/kafka-metrics").json())["consumer_group_lag"]:
        assert time.monotonic() < deadline_s, figures
        time.sleep(0.5)
    assert figures["running"]
    assert figures["messages_consumed"] > 0
    # The replica that answered is asked; the one that was killed before does not remember.
    last = json.loads(collector.ledger.contents[sent[-2].id].pop())
    body = {"prediction_id": last["prediction_id"], "corrected_label": last["label"]}
    judged = client.post("/feedback", json=body)
    assert (judged.status_code, judged.json().get("correct")) == (201, True), judged.text


def test_a_broker_that_stops_is_seen_and_http_does_not_notice(
    stack: Stack, client: httpx.Client, kafka: KafkaServer
) -> None:
    def said() -> dict[str, str | None]:
        parts = client.get("/health/details").json()["dependencies"]
        found = next(part["details"] for part in parts if part["component_name"] == "kafka")
        return found  # type: ignore[no-any-return]

    def wait_for(status: str) -> dict[str, str | None]:
        deadline_s = time.monotonic() + 60
        # Each of the two ingresses looks for itself.
        while (found := said())["status"] != status:
            assert time.monotonic() < deadline_s, found
            assert client.post("/predict", json={"text": f"{status}?"}).status_code == 200
            time.sleep(0.5)
        return found

    wait_for("healthy")
    kafka.signal(signal.SIGSTOP)
    try:
        assert "HTTP goes on" in str(wait_for("unhealthy")["error"])
    finally:
        kafka.signal(signal.SIGCONT)
    wait_for("healthy")
