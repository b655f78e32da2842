"""Traces and logs of the running graph: HTTP, gRPC and Kafka in, real OTLP and files out."""

import json
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.grpc
from collector import Collector, Got
from kafka import KafkaConsumer, KafkaProducer

from benchmarks.harness.servers import KafkaServer
from operations.local_stack.stack import Stack

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.usefixtures("sockets_of_kafka_python"),
]
SPAN = "00f067aa0ba902b7"
TEXT = "A quizzical sentence that nobody else sends about marzipan."
BELOW_HOP = {"batch", "infer"}
BELOW_REQUEST = {"tokenize", "hop"}


def caller(number: int) -> dict[str, str]:
    return {"traceparent": f"00-{number:032x}-{SPAN}-01", "tracestate": "vendor=1"}


def check(spans: dict[str, Got], request: str, deployment: str) -> None:
    """The whole way of one text that no cache knew."""
    root, hop = spans[request], spans["hop"]
    assert root.parent == SPAN
    assert all(spans[name].parent == root.id for name in BELOW_REQUEST)
    assert all(spans[name].parent == hop.id for name in BELOW_HOP)
    # One in the queue of the caller, and one in that of the model replica.
    assert spans["queue"].parent in {root.id, hop.id}
    assert spans["batch"].links == {hop.id}
    assert spans["infer"].links == {spans["batch"].id}
    assert {span.state for span in spans.values()} == {"vendor=1"}
    places = {name: span.resource["sentigraph.deployment"] for name, span in spans.items()}
    assert places[request] == places["hop"] == deployment
    assert (places["tokenize"], places["infer"]) == ("Tokenizer", "Model")
    # Three replicas, three processes.
    assert len({span.resource["service.instance.id"] for span in spans.values()}) == 3
    assert root.facts["sentigraph.model.name"] == "sentiment"
    assert root.facts["sentigraph.tokens"] > 5


def test_http_grpc_and_kafka_are_traced_across_replicas(
    stack: Stack, client: httpx.Client, kafka: KafkaServer, collector: Collector
) -> None:
    answer = client.post("/predict", json={"text": f"{TEXT} One."}, headers=caller(1))
    assert answer.headers["traceresponse"].startswith(f"00-{1:032x}-")

    door = tritonclient.grpc.InferenceServerClient(stack.grpc_address)
    tensor = tritonclient.grpc.InferInput("text", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([f"{TEXT} Two.".encode()], dtype=np.object_))
    door.infer("sentiment", [tensor], headers=caller(2))
    door.close()

    headers = [(name, value.encode()) for name, value in caller(3).items()]
    value = json.dumps({"id": "traced", "text": f"{TEXT} Three."}).encode()
    producer = KafkaProducer(bootstrap_servers=kafka.address)
    producer.send("sentiment_requests", value=value, headers=headers).get(10)
    producer.close()

    http = "POST /api/v1/predict"
    check(collector.trace(f"{1:032x}", {http, *BELOW_REQUEST, *BELOW_HOP}), http, "Ingress")
    grpc = "inference.GRPCInferenceService/ModelInfer"
    check(collector.trace(f"{2:032x}", {grpc, *BELOW_REQUEST, *BELOW_HOP}), grpc, "Ingress")
    message = "process sentiment_requests"
    spans = collector.trace(f"{3:032x}", {message, *BELOW_REQUEST, *BELOW_HOP})
    check(spans, message, "Stream")
    result = dict(read_result(kafka, b"traced"))
    assert result["traceparent"].decode() == f"00-{3:032x}-{spans[message].id}-01"
    assert all(b"marzipan" not in raw for raw in collector.raw)


def read_result(kafka: KafkaServer, key: bytes) -> list[tuple[str, bytes]]:
    consumer = KafkaConsumer(
        "sentiment_responses", bootstrap_servers=kafka.address, auto_offset_reset="earliest"
    )
    try:
        until_s = time.monotonic() + 20
        while time.monotonic() < until_s:
            for records in consumer.poll(timeout_ms=200).values():
                for record in records:
                    if record.key == key:
                        found: list[tuple[str, bytes]] = list(record.headers)
                        return found
    finally:
        consumer.close()
    raise AssertionError(f"no result for {key!r}")


def test_log_lines_find_a_request_and_never_hold_its_text(
    stack: Stack, client: httpx.Client
) -> None:
    headers = {**caller(9), "x-correlation-id": "integration-of-traces"}
    client.post("/predict", json={"text": TEXT}, headers=headers).raise_for_status()
    broken = {"x-correlation-id": "integration-of-refusals"}
    assert client.post("/predict", json={"txt": TEXT}, headers=broken).status_code == 422
    fields = line_of(stack.logs, "integration-of-traces")
    assert fields["trace_id"] == f"{9:032x}"
    assert {"timestamp", "level", "logger", "event", "service", "version", "component"} <= set(
        fields
    )
    assert fields["text_length"] == len(TEXT)
    assert fields["model_version"] >= 1
    assert fields["http_status"] == 200
    refused = line_of(stack.logs, "integration-of-refusals")
    assert refused["error_code"] == "E1001"
    assert "trace_id" not in refused
    files = log_files(stack.logs)
    assert len(files) > 20
    for file in files:
        assert b"marzipan" not in file.read_bytes(), file


def log_files(logs: Path) -> list[Path]:
    # Ray's own are behind a link.
    folders = (logs, (logs / "ray").resolve())
    return [file for folder in folders for file in folder.rglob("*") if file.is_file()]


def line_of(logs: Path, correlation_id: str) -> dict[str, object]:
    """The access line of a request; written at most half a second after its answer."""
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s:
        for file in log_files(logs):
            if not file.name.startswith("access_"):
                continue
            for line in file.read_text(encoding="utf-8").splitlines():
                if correlation_id in line:
                    found: dict[str, object] = json.loads(line)
                    return found
        time.sleep(0.2)
    raise AssertionError(f"no line of {correlation_id} below {logs}")
