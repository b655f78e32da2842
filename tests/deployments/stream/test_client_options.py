"""Settings of streams, as they reach kafka-python, Ray and the deployment."""

import asyncio
from typing import Any

import pytest
from front import ROUTES, LocalHandle, Stages, no_stages
from kafka import KafkaConsumer, KafkaProducer
from pydantic import ValidationError

from configs.schema.app import AppConfig
from configs.schema.conflicts import conflicts
from configs.schema.stream import StreamConfig
from deployments.app import build
from deployments.autoscaling import BUSY, LAG, PARTITIONS, RATE
from deployments.ingress.mounts import Upstreams
from deployments.payloads import StreamStatus
from deployments.serve_options import EngineShare
from deployments.stream import client_options as options
from deployments.stream.deployment import STOP_S, Stream
from deployments.transport.handles import stream_health
from deployments.versions import RoutingTable


def graph(args: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def walk(application: Any) -> None:
        deployment = application._bound_deployment
        found[deployment.name] = deployment
        called = [*deployment.init_args, *deployment.init_kwargs.values()]
        called += [given.stream for given in called if isinstance(given, Upstreams)]
        for value in called:
            if hasattr(value, "_bound_deployment"):
                walk(value)

    walk(build({"cache": {"l2": "none"}, **args}))
    return found


@pytest.mark.parametrize(
    ("setting", "value", "argument", "seen"),
    [
        ("bootstrap_servers", ["a:1", "b:2"], "bootstrap_servers", ["a:1", "b:2"]),
        ("security_protocol", "SSL", "security_protocol", "SSL"),
        ("ca_file", "/ca.pem", "ssl_cafile", "/ca.pem"),
        ("group", "mine", "group_id", "mine"),
        ("start_at", "latest", "auto_offset_reset", "latest"),
        ("max_poll_records", 7, "max_poll_records", 7),
        ("fetch_wait_ms", 33, "fetch_max_wait_ms", 33),
        ("session_timeout_ms", 45_000, "session_timeout_ms", 45_000),
        ("heartbeat_interval_ms", 1_234, "heartbeat_interval_ms", 1_234),
        ("max_poll_interval_ms", 9_999, "max_poll_interval_ms", 9_999),
    ],
)
def test_what_the_consumer_is_told(setting: str, value: Any, argument: str, seen: Any) -> None:
    default = options.consumer(StreamConfig())
    given = options.consumer(StreamConfig.model_validate({setting: value}))
    assert given[argument] == seen != default.get(argument)
    assert given["enable_auto_commit"] is False


@pytest.mark.parametrize("assignment", ["cooperative-sticky", "sticky", "roundrobin", "range"])
def test_how_partitions_are_shared(assignment: Any) -> None:
    (chosen,) = options.consumer(StreamConfig(assignment=assignment))[
        "partition_assignment_strategy"
    ]
    assert chosen.name == assignment


@pytest.mark.parametrize(
    ("setting", "value", "argument", "seen"),
    [
        ("linger_ms", 50, "linger_ms", 50),
        ("compression", "gzip", "compression_type", "gzip"),
        ("compression", "none", "compression_type", None),
        ("delivery_timeout_ms", 3_000, "delivery_timeout_ms", 3_000),
        ("delivery_timeout_ms", 3_000, "max_block_ms", 3_000),
    ],
)
def test_what_the_producer_is_told(setting: str, value: Any, argument: str, seen: Any) -> None:
    given = options.producer(StreamConfig.model_validate({setting: value}))
    assert given[argument] == seen != options.producer(StreamConfig())[argument]
    assert (given["acks"], given["enable_idempotence"]) == ("all", True)


def test_who_logs_in() -> None:
    login = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "username": "me",
        "password": "s3cret",
    }
    given = options.connection(StreamConfig.model_validate(login))
    assert given["sasl_mechanism"] == "PLAIN"
    assert (given["sasl_plain_username"], given["sasl_plain_password"]) == ("me", "s3cret")
    assert "sasl_mechanism" not in options.connection(StreamConfig())


def test_kafka_python_knows_every_argument() -> None:
    given = StreamConfig(security_protocol="SASL_SSL", username="me", ca_file="/ca.pem")
    assert options.consumer(given).keys() <= KafkaConsumer.DEFAULT_CONFIG.keys()
    assert options.producer(given).keys() <= KafkaProducer.DEFAULT_CONFIG.keys()


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"heartbeat_interval_ms": 9_000, "session_timeout_ms": 10_000}, "heartbeat_interval_ms"),
        ({"backoff_ms": 500, "backoff_max_ms": 400}, "backoff_ms=500"),
        ({"responses_topic": "sentiment_requests"}, "four different topics"),
        ({"bootstrap_servers": ["kafka"]}, "bootstrap_servers"),
        ({"requests_topic": "a b"}, "requests_topic"),
    ],
)
def test_contradictions_are_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        StreamConfig.model_validate(given)


@pytest.mark.parametrize(
    ("stream", "problem"),
    [
        ({"max_in_flight": 5_000}, "stream.max_in_flight=5000 is above limits.max_queued_texts"),
        ({"processing_timeout_ms": 90_000}, "stream.processing_timeout_ms=90000 is above"),
        ({"security_protocol": "SASL_SSL"}, "needs stream.username"),
    ],
)
def test_what_does_not_fit_the_rest_is_refused(stream: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        AppConfig.model_validate({"stream": {"enabled": True, **stream}})
    assert not list(conflicts(AppConfig.model_validate({"stream": stream})))


def test_the_deployment_is_there_when_it_is_asked_for() -> None:
    assert "Stream" not in graph({})
    size = {"num_replicas": 2, "num_cpus": 0.7, "num_gpus": 0.5, "max_ongoing_requests": 7}
    found = graph(
        {
            "stream": {"enabled": True, "drain_ms": 4_000},
            "replicas": {"stream": size, "model": {"num_replicas": 4}},
        }
    )
    stream = found["Stream"]
    assert stream.num_replicas == 2
    assert stream.ray_actor_options == {"num_cpus": 0.7, "num_gpus": 0.5}
    assert stream.max_ongoing_requests == 7
    # Serve waits as long as the replica may drain.
    assert stream._deployment_config.graceful_shutdown_timeout_s == 4 + STOP_S
    share = stream.init_args[1]
    assert (share.hops_in_flight, share.engines) == (3, 2)


def test_its_replicas_follow_the_lag() -> None:
    found = graph(
        {
            "stream": {"enabled": True},
            "replicas": {"stream": {"num_replicas": 1, "max_replicas": 6}},
            "autoscaling": {"target_drain_s": 12},
        }
    )
    bounds = found["Stream"]._deployment_config.autoscaling_config
    assert (bounds.min_replicas, bounds.max_replicas) == (1, 6)
    assert "LagPolicy" in str(bounds.policy.policy_function)
    assert bounds.policy.policy_kwargs == {"target_drain_s": 12}


def stream_of(**given: Any) -> AppConfig:
    stream = {"enabled": True, "bootstrap_servers": ["127.0.0.1:1"], **given}
    return AppConfig.model_validate({"cache": {"l2": "none"}, "stream": stream})


async def make(config: AppConfig) -> Stream:
    stream = Stream.__new__(Stream)
    handle: Any = LocalHandle(Stages())
    await stream.__init__(  # type: ignore[misc]
        config, EngineShare(1, 1.0), tokenizer=handle, registry=handle, cache=None
    )
    return stream


def test_a_replica_without_a_broker_lives_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.stream.deployment.open_stages", no_stages)

    async def body() -> None:
        stream = await make(stream_of(drain_ms=50))
        await asyncio.sleep(0.1)
        await stream.check_health()
        status = await stream.status()
        assert not status.connected
        assert stream_health([status]).startswith("degraded: Kafka does not answer 1 of 1")
        assert stream.record_autoscaling_stats() == {LAG: 0, RATE: 0, PARTITIONS: 0, BUSY: 0}
        newer = RoutingTable(ROUTES.epoch + 1, ROUTES.champion)
        assert await stream.route(newer) == newer.epoch
        assert await stream.route(ROUTES) == newer.epoch
        stopping = stream.__del__()
        assert stopping is not None
        await stopping
        assert stream.__del__() is None
        with pytest.raises(RuntimeError):
            await stream.check_health()

    asyncio.run(body())


def test_all_replicas_together() -> None:
    counts = {"consumed": 3, "processed": 2, "failed": 1, "retried": 0, "dead_letters": 1}
    up = StreamStatus(True, {0: 5}, 2.5, 4, 1, counts, 0.6)
    assert stream_health([up, up]) == "ok"
    assert stream_health([]) == "ok"
