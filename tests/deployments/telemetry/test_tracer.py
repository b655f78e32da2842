"""Spans of the real ingress, tokenizer and model, as a collector gets them over real OTLP."""

import asyncio
import json
import logging
import pickle
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
from collector import Collector, Got, collecting
from front import LIVE, Stages, made_ingress, with_front
from grpc_front import served
from tls import self_signed, tls_in_front_of

from configs.schema.app import AppConfig, BatchingConfig, ModelConfig
from deployments.batching.cost_surface import CostSurface
from deployments.cache.memory import CacheReplica
from deployments.model.replica import ModelReplica
from deployments.payloads import EncodingBatch, ModelAnswer, ScoreBatch, TextBatch
from deployments.telemetry.metrics import Metrics
from deployments.telemetry.otlp import BackgroundSpanExporter
from deployments.telemetry.spans import done, new_trace
from deployments.tokenizer.replica import TokenizerReplica, token_ids
from deployments.versions import RoutingTable, ServedVersion
from operations.local_stack.ports import free_port
from registry.records import Bundle

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1"}
SECRET = "An unmistakable sentence about xylophones."
PREDICT = "/api/v1/predict"
BATCH = "/api/v1/predict/batch"
STAGES = {"cache lookup", "queue", "hop", "tokenize", "batch", "infer", f"POST {PREDICT}"}
FLAT = CostSurface(
    np.array([1, 128], dtype=np.float32),
    np.array([1, 512], dtype=np.float32),
    np.ones((2, 2), dtype=np.float32),
)


class Graph(Stages):
    """Tokenizer and model, the real ones.

    What goes between them is pickled, as on the wire, where ``topology`` is ``split``.
    """

    def __init__(self, one_bundle: Any, bundled: Bundle, topology: str = "split") -> None:
        super().__init__()
        self._hop = topology == "split"
        self._digest = bundled.digest
        model = ModelConfig(warmup_runs=0, surface_budget_ms=0)
        batching = BatchingConfig(reproducible_scores=False)
        self._model = ModelReplica(
            one_bundle, model, batching, threads=1, gpu_share=0, encode=token_ids
        )
        self._tokenizer = TokenizerReplica(one_bundle, self._score)
        self._live = ServedVersion(
            "sentiment", 3, bundled.digest, tuple(bundled.labels), "onnx", "int8", 128, "registry"
        )

    async def routes(self) -> RoutingTable:
        await self._model.load(self._digest)
        self._model._models[self._digest].surface = FLAT
        return RoutingTable(1, self._live)

    def _sent(self, payload: Any) -> Any:
        return pickle.loads(pickle.dumps(payload)) if self._hop else payload

    async def _score(self, batch: EncodingBatch) -> ScoreBatch:
        found: ScoreBatch = self._sent(await self._model.run(self._sent(batch)))
        return found

    async def classify(self, batch: TextBatch) -> ModelAnswer:
        found: ModelAnswer = self._sent(await self._tokenizer.classify(self._sent(batch)))
        return found


def config(collector: Collector | str, **changes: Any) -> AppConfig:
    address = collector if isinstance(collector, str) else collector.address
    tracing = {"enabled": True, "endpoint": address, "export_interval_ms": 20, "sample_ratio": 0}
    parts = {name: value for name, value in changes.items() if name in AppConfig.model_fields}
    tracing |= {name: value for name, value in changes.items() if name not in parts}
    return AppConfig.model_validate({"cache": {"l2": "none"}, "tracing": tracing, **parts})


def traced(
    given: AppConfig, body: Callable[[httpx.AsyncClient], Awaitable[None]], **more: Any
) -> None:
    with_front(given, body, **more)


def children(spans: list[Got], parent: Got) -> set[str]:
    return {span.name for span in spans if span.parent == parent.id}


@pytest.mark.parametrize(("protocol", "topology"), [("grpc", "split"), ("http", "fused")])
def test_a_request_is_one_trace_through_all_stages(
    protocol: str, topology: str, one_bundle: Any, bundled: Bundle
) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        answer = await client.post(PREDICT, json={"text": SECRET}, headers=CALLER)
        assert answer.status_code == 200
        answers.append(answer)

    answers: list[httpx.Response] = []
    with collecting(protocol) as collector:
        given = config(collector, protocol=protocol)
        graph = Graph(one_bundle, bundled, topology)
        traced(given, body, stages=graph, cache=CacheReplica(1 << 20, 60))
        by_name = collector.trace(TRACE, STAGES)
    spans = collector.spans
    assert all(span.trace == TRACE for span in spans)
    assert all(span.state == "vendor=1" for span in spans)
    request, hop = by_name[f"POST {PREDICT}"], by_name["hop"]
    assert request.parent == SPAN
    assert children(spans, request) == {"cache lookup", "queue", "hop"}
    assert children(spans, hop) == {"tokenize", "queue", "batch", "infer"}
    assert by_name["batch"].links == {hop.id}
    assert by_name["infer"].links == {by_name["batch"].id}
    # 2 server, 3 client, 1 internal.
    assert (request.kind, hop.kind, by_name["infer"].kind) == (2, 3, 1)
    for span in spans:
        assert request.start_ns <= span.start_ns <= span.end_ns <= request.end_ns, span
        assert not span.failed
    header = answers[0].headers["traceresponse"]
    assert header == f"00-{TRACE}-{request.id}-01"
    assert request.facts["http.response.status_code"] == 200
    assert request.facts["sentigraph.model.version"] == 3
    assert request.facts["sentigraph.tokens"] == answers[0].json()["n_tokens"]
    assert request.facts["sentigraph.cache.hit"] is False
    assert by_name["batch"].facts["sentigraph.batch.rows"] == 1
    deployments = {span.name: span.resource["sentigraph.deployment"] for span in spans}
    assert deployments["hop"] == "Ingress"
    assert deployments["tokenize"] == "Tokenizer"
    assert deployments["infer"] == deployments["batch"] == "Model"
    # Never the text, in no field of no span.
    assert all(b"xylophone" not in raw for raw in collector.raw)
    assert collector.paths == ["/v1/traces"] * len(collector.paths)


def test_an_engine_batch_is_linked_to_all_its_requests(one_bundle: Any, bundled: Bundle) -> None:
    def caller(number: int) -> dict[str, str]:
        return {"traceparent": f"00-{number:032x}-{SPAN}-01"}

    async def body(client: httpx.AsyncClient) -> None:
        asked = [
            client.post(PREDICT, json={"text": f"Number {i}"}, headers=caller(i))
            for i in range(1, 5)
        ]
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}

    with collecting() as collector:
        traced(config(collector), body, stages=Graph(one_bundle, bundled))
        spans = collector.wait(lambda got: sum(s.name.startswith("POST") for s in got) == 4)
    hops = {span.id for span in spans if span.name == "hop"}
    batches = [span for span in spans if span.name == "batch"]
    assert len(hops) == 4
    # Every request in exactly one batch, and at least one batch of several.
    assert sum(len(batch.links) for batch in batches) == 4
    assert {link for batch in batches for link in batch.links} == hops
    assert max(batch.facts["sentigraph.batch.rows"] for batch in batches) > 1
    infers = [span for span in spans if span.name == "infer"]
    assert len(infers) == 4
    assert {link for span in infers for link in span.links} == {batch.id for batch in batches}
    # Each request's trace is whole, whoever's trace the batch lies in.
    for number in range(1, 5):
        names = {span.name for span in spans if span.trace == f"{number:032x}"}
        assert names >= STAGES - {"batch"}


def test_many_texts_of_one_request_are_few_spans(one_bundle: Any, bundled: Bundle) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        texts = [f"Number {i}" for i in range(30)]
        answer = await client.post(BATCH, json={"texts": [*texts, texts[0]]}, headers=CALLER)
        assert answer.json()["failed"] == 0

    with collecting() as collector:
        traced(config(collector), body, stages=Graph(one_bundle, bundled))
        by_name = collector.trace(TRACE, {f"POST {BATCH}", "infer", "batch"})
    assert len(collector.spans) <= 10
    assert by_name[f"POST {BATCH}"].facts["sentigraph.texts"] == 31
    assert by_name["tokenize"].facts["sentigraph.texts"] == 30


def test_a_remembered_text_is_one_lookup() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        await client.post(PREDICT, json={"text": "again"})
        await client.post(PREDICT, json={"text": "again"}, headers=CALLER)

    with collecting() as collector:
        traced(config(collector), body)
        by_name = collector.trace(TRACE, {f"POST {PREDICT}"})
    assert {span.name for span in collector.spans} == {f"POST {PREDICT}", "cache lookup"}
    assert by_name["cache lookup"].facts["sentigraph.cache.hit"] is True
    assert by_name["cache lookup"].facts["sentigraph.cache.level"] == "l1"
    assert by_name[f"POST {PREDICT}"].facts["sentigraph.cache.hits"] == 1


def test_who_waits_for_anothers_text_is_linked_to_it() -> None:
    other = "00-" + "1" * 32 + f"-{SPAN}-01"

    async def body(client: httpx.AsyncClient) -> None:
        first = client.post(PREDICT, json={"text": "same"}, headers={"traceparent": other})
        second = client.post(PREDICT, json={"text": "same"}, headers=CALLER)
        await asyncio.gather(first, second)

    with collecting() as collector:
        traced(config(collector), body, stages=Stages(0.05))
        mine = collector.trace(TRACE, {f"POST {PREDICT}"})
        first = collector.trace("1" * 32, {f"POST {PREDICT}"})[f"POST {PREDICT}"]
    assert mine["shared flight"].links == {first.id}
    assert mine["shared flight"].duration_ms > 20
    assert "hop" not in mine


def test_failures_are_marked() -> None:
    class Broken(Stages):
        async def classify(self, batch: TextBatch) -> ModelAnswer:
            raise RuntimeError("engine")

    async def body(client: httpx.AsyncClient) -> None:
        assert (await client.post(PREDICT, json={"text": "a"}, headers=CALLER)).status_code == 500
        refused = {"traceparent": f"00-{'2' * 32}-{SPAN}-01"}
        assert (await client.post(PREDICT, json={"text": ""}, headers=refused)).status_code == 422

    with collecting() as collector:
        traced(config(collector), body, stages=Broken())
        failed = collector.trace(TRACE, {f"POST {PREDICT}"})
        refused = collector.trace("2" * 32, {f"POST {PREDICT}"})[f"POST {PREDICT}"]
    assert failed["hop"].failed
    assert failed[f"POST {PREDICT}"].failed
    assert failed[f"POST {PREDICT}"].facts["error.type"] == "E2002"
    assert not refused.failed
    assert refused.facts["error.type"] == "E1003"


def test_what_is_not_sampled_leaves_nothing() -> None:
    unsampled = {"traceparent": f"00-{TRACE}-{SPAN}-00"}

    async def body(client: httpx.AsyncClient) -> None:
        for headers in ({}, unsampled):
            answer = await client.post(PREDICT, json={"text": "a"}, headers=headers)
            assert "traceresponse" not in answer.headers
        await client.get("/api/v1/health/live", headers=CALLER)
        await client.post(PREDICT, json={"text": "b"}, headers=CALLER)

    with collecting() as collector:
        traced(config(collector), body)
        collector.trace(TRACE, {f"POST {PREDICT}"})
    assert sum(span.name.startswith(("POST", "GET")) for span in collector.spans) == 1


def test_settings_of_what_is_said() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        await client.post(PREDICT, json={"text": "a"})

    with collecting("http") as collector:
        given = config(
            collector.address + "/own/path",
            protocol="http",
            sample_ratio=1,
            headers="authorization=Bearer s3cret, x-tenant=a",
            server={"service_name": "reviews"},
        )
        traced(given, body)
        (span, *_) = collector.wait(lambda got: any(s.name.startswith("POST") for s in got))
    assert set(collector.paths) == {"/own/path"}
    assert collector.headers[0]["authorization"] == "Bearer s3cret"
    assert collector.headers[0]["x-tenant"] == "a"
    assert span.resource["service.name"] == "reviews"
    assert span.resource["deployment.environment.name"] == "local"


def test_the_grpc_door_takes_and_gives_the_context() -> None:
    with collecting() as collector, served(config(collector)) as (_, address):
        client = tritonclient.grpc.InferenceServerClient(address)
        tensor = tritonclient.grpc.InferInput("text", [1], "BYTES")
        tensor.set_data_from_numpy(np.array([SECRET.encode()], dtype=np.object_))
        client.infer(LIVE.name, [tensor], headers=CALLER)
        client.close()
        name = "inference.GRPCInferenceService/ModelInfer"
        span = collector.trace(TRACE, {name, "hop"})[name]
    assert span.parent == SPAN
    assert span.facts["rpc.method"] == "ModelInfer"
    assert all(b"xylophone" not in raw for raw in collector.raw)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_collector_that_is_away_costs_no_request_anything(protocol: str) -> None:
    async def body() -> None:
        given = config(
            f"http://127.0.0.1:{free_port()}",
            protocol=protocol,
            sample_ratio=1,
            max_queued_spans=20,
            export_timeout_ms=1_000,
            server={"access_log": False},
        )
        async with made_ingress(given, Stages()) as ingress:
            transport = httpx.ASGITransport(ingress.__serve_build_asgi_app__())
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                times_s = []
                for i in range(100):
                    started_s = time.monotonic()
                    answer = await client.post(PREDICT, json={"text": f"text {i}"})
                    times_s.append(time.monotonic() - started_s)
                    assert answer.status_code == 200
                assert sorted(times_s)[90] < 0.5
                until_s = time.monotonic() + 8
                while not counted(ingress._metrics, "failed"):
                    assert time.monotonic() < until_s
                    await asyncio.sleep(0.01)
                assert counted(ingress._metrics, "dropped") > 100
                page = (await client.get("/api/v1/metrics")).text
                assert 'sentiment_trace_spans_total{result="dropped"}' in page
            closing_s = time.monotonic()
        assert time.monotonic() - closing_s < 3

    asyncio.run(asyncio.wait_for(body(), 20))


def counted(metrics: Metrics, result: str) -> float:
    return float(metrics.spans.labels(result)._value.get())


def test_a_slow_collector_bounds_what_waits() -> None:
    with collecting() as collector:
        collector.delay_s = 0.3
        metrics = Metrics()
        outbox = BackgroundSpanExporter(
            config(collector, max_queued_spans=10, export_interval_ms=10), metrics.spans
        )
        for _ in range(200):
            outbox.put(done("x", "Ingress", new_trace(), 0.0, 1.0))
        assert counted(metrics, "dropped") >= 180
        outbox.close()
        assert counted(metrics, "exported") == len(collector.spans) <= 20


def test_spans_wait_for_others_no_longer_than_the_interval() -> None:
    for interval_ms, soon in ((10, True), (60_000, False)):
        with collecting() as collector:
            given = config(collector, export_interval_ms=interval_ms)
            outbox = BackgroundSpanExporter(given, Metrics().spans)
            outbox.put(done("x", "Ingress", new_trace(), 0.0, 1.0))
            until_s = time.monotonic() + (5 if soon else 0.3)
            while not collector.spans and time.monotonic() < until_s:
                time.sleep(0.01)
            assert bool(collector.spans) is soon
            outbox.close()
            assert len(collector.spans) == 1


def test_one_export_ends_at_its_time() -> None:
    metrics = Metrics()
    address = f"http://127.0.0.1:{free_port()}"
    outbox = BackgroundSpanExporter(
        config(address, export_interval_ms=10, export_timeout_ms=100), metrics.spans
    )
    outbox.put(done("x", "Ingress", new_trace(), 0.0, 1.0))
    until_s = time.monotonic() + 2
    while not counted(metrics, "failed"):
        assert time.monotonic() < until_s
        time.sleep(0.01)
    outbox.close()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_the_collectors_certificate_is_verified(protocol: str, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)

    async def body(collector: Collector) -> None:
        port = int(collector.address.rpartition(":")[2])
        async with tls_in_front_of(port, certificate, key) as secure:
            known, unknown = (str(certificate), "exported", 5_000), ("", "failed", 300)
            for ca_file, result, timeout_ms in (known, unknown):
                metrics = Metrics()
                given = config(
                    f"https://localhost:{secure}",
                    protocol=protocol,
                    ca_file=ca_file,
                    export_timeout_ms=timeout_ms,
                )
                outbox = BackgroundSpanExporter(given, metrics.spans)
                outbox.put(done("x", "Ingress", new_trace(), 0.0, 1.0))
                until_s = time.monotonic() + 10
                while not counted(metrics, result):
                    assert time.monotonic() < until_s, (protocol, result)
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(outbox.close)

    with collecting(protocol) as collector:
        asyncio.run(asyncio.wait_for(body(collector), 20))


def test_nothing_of_opentelemetry_is_imported_where_tracing_is_off() -> None:
    code = (
        "import sys, deployments.telemetry.tracer as t\n"
        "from configs.schema.app import AppConfig\n"
        "from deployments.telemetry.metrics import Metrics\n"
        "assert t.open_tracer(AppConfig(), 'Ingress', Metrics()) is None\n"
        "import deployments.inference.predictor, deployments.inference.dispatcher\n"
        "import deployments.ingress.access_log\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'grpc'))])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_log_lines_name_request_trace_and_service(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Stages):
        async def classify(self, batch: TextBatch) -> ModelAnswer:
            raise RuntimeError("engine")

    async def body(client: httpx.AsyncClient) -> None:
        headers = {**CALLER, "x-correlation-id": "mine-1"}
        await client.post(PREDICT, json={"text": SECRET}, headers=headers)
        await client.post(PREDICT, json={"text": SECRET}, headers={"x-correlation-id": "mine-2"})

    serve = logging.getLogger("ray.serve")
    serve.addHandler(caplog.handler)
    caplog.set_level(logging.INFO)
    try:
        with collecting() as collector:
            traced(config(collector, server={"service_name": "reviews"}), body, stages=Broken())
    finally:
        serve.removeHandler(caplog.handler)
        caplog.handler.filters.clear()
    lines = [record.getMessage() for record in caplog.records if record.name == "sentigraph.access"]
    sampled, other = (json.loads(line) for text in lines for line in text.splitlines())
    errors = [r for r in caplog.records if r.levelname == "ERROR"]
    assert errors[0].__dict__["correlation_id"] == "mine-1"
    assert errors[0].__dict__["trace_id"] == sampled["trace_id"] == TRACE
    assert errors[0].__dict__["span_id"] == sampled["span_id"]
    assert errors[0].__dict__["service"] == sampled["service"] == "reviews"
    assert errors[0].__dict__["component"] == sampled["component"] == "Ingress"
    assert (sampled["http_status"], sampled["error_code"]) == (500, "E2002")
    assert (sampled["level"], sampled["logger"]) == ("INFO", "sentigraph.access")
    assert sampled["text_length"] == len(SECRET)
    assert other["correlation_id"] == "mine-2"
    assert "trace_id" not in other
    assert "xylophone" not in caplog.text
