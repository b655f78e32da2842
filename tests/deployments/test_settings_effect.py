"""Every setting does something: change it and something that can be observed changes."""

import asyncio
import json
import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest
from front import Stages, with_front
from ray.serve import Deployment

from configs.schema.app import AppConfig
from configs.schema.fields import settings
from configs.sources.front_key import front_key
from deployments.app import build, deployment_names
from deployments.cache.memory import CacheReplica
from deployments.ingress.mounts import Upstreams

PREDICT = "/api/v1/predict"
BATCH = "/api/v1/predict/batch"

# Settings whose effect is shown elsewhere, and where.
ELSEWHERE = {
    "profile": "tests/configs/test_load.py",
    "topology": "tests/integration/test_cluster.py",
    "model.name": "tests/deployments/rollout/test_deployment.py",
    "model.alias": "tests/deployments/rollout/test_deployment.py",
    "model.provider": "tests/deployments/model/test_replica.py",
    "model.warmup_runs": "tests/deployments/model/test_replica.py",
    "batching.max_batch_texts": "tests/deployments/model/test_replica.py",
    "batching.max_batch_tokens": "tests/deployments/model/test_replica.py",
    "batching.bulk_ratio": "tests/deployments/batching/test_scheduler.py",
    "model.surface_budget_ms": "tests/deployments/model/test_runner.py",
    "batching.reproducible_scores": "tests/deployments/model/test_replica.py",
    "registry.max_stored_bytes": "tests/deployments/rollout/test_registry_routes.py",
    "prediction_log.max_stored_bytes": "tests/deployments/prediction_log/test_prediction_log.py",
    "registry.max_artifact_bytes": "tests/deployments/rollout/conftest.py",
    "registry.watch_interval_ms": "tests/deployments/rollout/test_deployment.py",
    "rollout.ack_timeout_ms": "tests/deployments/rollout/test_controller.py",
    "rollout.max_slowdown": "tests/deployments/rollout/test_controller.py",
    "rollout.min_golden_agreement": "tests/deployments/rollout/test_controller.py",
    "rollout.max_shadow_requests": "tests/deployments/canary/test_shadow.py",
    "rollout.slow_ratio": "tests/deployments/canary/test_paired_counts.py",
    "rollout.drift_step": "tests/deployments/canary/test_paired_counts.py",
    "rollout.max_remembered_predictions": "tests/deployments/canary/test_feedback.py",
    "registry.tracking_uri": "tests/deployments/rollout/test_deployment.py",
    "registry.artifact_root": "tests/deployments/rollout/test_deployment.py",
    "registry.username": "tests/registry/backend/test_login.py",
    "registry.password": "tests/registry/backend/test_login.py",
    "registry.bundle_cache_dir": "tests/deployments/rollout/test_deployment.py",
    "registry.bundled_model_dir": "tests/deployments/rollout/test_deployment.py",
    "cache.flight_wait_ms": "tests/deployments/cache/test_redis.py",
    "redis.host": "tests/deployments/cache/test_redis.py",
    "redis.port": "tests/deployments/cache/test_redis.py",
    "redis.db": "tests/deployments/cache/test_redis.py",
    "redis.username": "tests/deployments/cache/test_redis.py",
    "redis.password": "tests/deployments/cache/test_redis.py",
    "redis.tls": "tests/deployments/cache/test_redis.py",
    "redis.tls_ca_file": "tests/deployments/cache/test_redis.py",
    "redis.namespace": "tests/deployments/cache/test_redis.py",
    "redis.max_connections": "tests/deployments/cache/test_redis.py",
    "redis.connect_timeout_ms": "tests/deployments/cache/test_redis.py",
    "redis.timeout_ms": "tests/deployments/cache/test_redis.py",
    "server.fast_path": "tests/deployments/http_server.py",
    "server.cors_origins": "tests/deployments/access/test_middleware.py",
    "chaos.enabled": "tests/deployments/ingress/test_chaos.py",
    "chaos.max_seconds": "tests/deployments/ingress/test_chaos.py",
    "server.front_only": "tests/deployments/access/test_client_address.py",
    "vault.enabled": "tests/integration/test_access_on_cluster.py",
    "vault.address": "tests/deployments/clients/test_secrets.py",
    "vault.namespace": "tests/deployments/clients/test_secrets.py",
    "vault.auth": "tests/deployments/clients/test_secrets.py",
    "vault.token": "tests/deployments/clients/test_secrets.py",
    "vault.role": "tests/deployments/clients/test_secrets.py",
    "vault.secret_id": "tests/deployments/clients/test_secrets.py",
    "vault.jwt_file": "tests/deployments/clients/test_secrets.py",
    "vault.mount_point": "tests/deployments/clients/test_secrets.py",
    "vault.secrets_path": "tests/deployments/clients/test_secrets.py",
    "vault.database_mount": "tests/deployments/clients/test_vault.py",
    "vault.redis_role": "tests/deployments/clients/test_vault.py",
    "vault.ca_file": "tests/deployments/clients/test_secrets.py",
    "vault.timeout_ms": "tests/deployments/clients/test_secrets.py",
    "vault.refresh_ms": "tests/deployments/clients/test_secrets.py",
    "access.required": "tests/deployments/access/test_middleware.py",
    "access.public": "tests/deployments/access/test_middleware.py",
    "access.api_key": "tests/deployments/access/test_middleware.py",
    "access.api_keys": "tests/deployments/access/test_middleware.py",
    "access.requests_per_s": "tests/deployments/access/test_rate_limit.py",
    "access.burst_s": "tests/deployments/access/test_rate_limit.py",
    "access.max_concurrent": "tests/deployments/access/test_middleware.py",
    "access.trusted_proxies": "tests/deployments/access/test_login_throttle.py",
    "access.max_failed_logins": "tests/deployments/access/test_login_throttle.py",
    "access.rate_timeout_ms": "tests/deployments/access/test_rate_limit.py",
    "access.rate_store": "tests/deployments/access/test_rate_limit.py",
    "access.jwt.jwks": "tests/deployments/access/test_middleware.py",
    "access.jwt.refresh_s": "tests/deployments/access/test_middleware.py",
    "access.jwt.issuer": "tests/deployments/access/test_credentials.py",
    "access.jwt.audience": "tests/deployments/access/test_credentials.py",
    "access.jwt.roles_claim": "tests/deployments/access/test_credentials.py",
    "access.jwt.leeway_s": "tests/deployments/access/test_credentials.py",
    "jobs.database": "tests/deployments/jobs_front.py",
    "jobs.max_jobs": "tests/deployments/jobs/test_jobs.py",
    "jobs.max_high": "tests/deployments/jobs/test_jobs.py",
    "jobs.max_medium": "tests/deployments/jobs/test_jobs.py",
    "jobs.max_low": "tests/deployments/jobs/test_jobs.py",
    "jobs.max_texts": "tests/deployments/jobs/test_jobs.py",
    "jobs.max_queued_texts": "tests/deployments/jobs/test_jobs.py",
    "jobs.max_job_bytes": "tests/deployments/jobs/test_jobs.py",
    "jobs.max_stored_bytes": "tests/deployments/jobs/test_jobs.py",
    "jobs.max_caller_share": "tests/deployments/jobs/test_jobs.py",
    "jobs.max_upload_bytes": "tests/deployments/jobs/test_jobs.py",
    "jobs.chunk_texts": "tests/deployments/jobs/test_jobs.py",
    "jobs.chunks_in_flight": "tests/deployments/jobs/test_jobs.py",
    "jobs.lease_s": "tests/deployments/jobs/test_jobs.py",
    "jobs.max_attempts": "tests/deployments/jobs/test_jobs.py",
    "jobs.default_timeout_s": "tests/deployments/jobs/test_jobs.py",
    "jobs.max_timeout_s": "tests/deployments/jobs/test_jobs.py",
    "jobs.ageing_s": "tests/deployments/jobs/test_scheduler.py",
    "jobs.result_ttl_s": "tests/deployments/jobs/test_jobs.py",
    "jobs.max_ended": "tests/deployments/jobs/test_jobs.py",
    "jobs.cleanup_interval_s": "tests/deployments/jobs/test_jobs.py",
    "jobs.webhook.hosts": "tests/deployments/jobs/test_webhook.py",
    "jobs.webhook.secret": "tests/deployments/jobs/test_webhook.py",
    "jobs.webhook.max_attempts": "tests/deployments/jobs/test_webhook.py",
    "jobs.webhook.timeout_ms": "tests/deployments/jobs/test_webhook.py",
    "drift.database": "tests/deployments/insight/test_routes.py",
    "drift.baseline_texts": "tests/deployments/insight/test_watched.py",
    "drift.alpha": "tests/deployments/insight/test_watched.py",
    "drift.horizon_days": "tests/deployments/insight/test_watched.py",
    "drift.tolerance": "tests/deployments/insight/test_watched.py",
    "drift.label_tolerance": "tests/deployments/insight/test_watched.py",
    "drift.report_interval_s": "tests/deployments/insight/test_watched.py",
    "drift.window_size": "tests/deployments/insight/test_store.py",
    "drift.min_samples": "tests/deployments/insight/test_store.py",
    "drift.psi_threshold": "tests/deployments/insight/test_store.py",
    "drift.ks_threshold": "tests/deployments/insight/test_store.py",
    "feedback.id_key": "tests/deployments/insight/test_feedback.py",
    "feedback.old_id_key": "tests/deployments/insight/test_feedback.py",
    "feedback.max_age_days": "tests/deployments/insight/test_feedback.py",
    "feedback.audit_share": "tests/deployments/insight/test_routes.py",
    "feedback.margin_share": "tests/deployments/insight/test_routes.py",
    "feedback.text": "tests/deployments/insight/test_feedback.py",
    "feedback.max_waiting": "tests/deployments/insight/test_routes.py",
    "feedback.lease_s": "tests/deployments/insight/test_feedback.py",
    "feedback.alpha": "tests/deployments/insight/test_feedback.py",
    "feedback.reference_accuracy": "tests/deployments/insight/test_feedback.py",
    "explanations.use_attention": "tests/deployments/insight/test_explanations.py",
    "explanations.use_gradients": "tests/deployments/insight/test_explanations.py",
    "explanations.max_evaluations": "tests/deployments/insight/test_explanations.py",
    "explanations.deadline_ms": "tests/deployments/insight/test_explanations.py",
    "explanations.max_waiting": "tests/deployments/insight/test_explanations.py",
    "kpis.detailed": "tests/deployments/insight/test_kpis.py",
    "kpis.history_hours": "tests/deployments/insight/test_kpis.py",
    "kpis.cost_per_1k": "tests/deployments/insight/test_kpis.py",
    "kpis.cpu_hour": "tests/deployments/insight/test_kpis.py",
    "stream.feedback_topic": "tests/deployments/stream/test_feedback_outbox.py",
    "breaker.failure_threshold": "tests/deployments/clients/test_circuit_breaker.py",
    "breaker.recovery_ms": "tests/deployments/clients/test_circuit_breaker.py",
    "breaker.success_threshold": "tests/deployments/clients/test_circuit_breaker.py",
    "stream.bootstrap_servers": "tests/deployments/stream/test_client_options.py",
    "stream.security_protocol": "tests/deployments/stream/test_client_options.py",
    "stream.ca_file": "tests/deployments/stream/test_client_options.py",
    "stream.sasl_mechanism": "tests/deployments/stream/test_client_options.py",
    "stream.username": "tests/deployments/stream/test_client_options.py",
    "stream.password": "tests/deployments/stream/test_client_options.py",
    "stream.group": "tests/deployments/stream/test_client_options.py",
    "stream.start_at": "tests/deployments/stream/test_client_options.py",
    "stream.assignment": "tests/deployments/stream/test_client_options.py",
    "stream.max_poll_records": "tests/deployments/stream/test_client_options.py",
    "stream.fetch_wait_ms": "tests/deployments/stream/test_client_options.py",
    "stream.session_timeout_ms": "tests/deployments/stream/test_client_options.py",
    "stream.heartbeat_interval_ms": "tests/deployments/stream/test_client_options.py",
    "stream.max_poll_interval_ms": "tests/deployments/stream/test_client_options.py",
    "stream.linger_ms": "tests/deployments/stream/test_client_options.py",
    "stream.compression": "tests/deployments/stream/test_client_options.py",
    "stream.delivery_timeout_ms": "tests/deployments/stream/test_client_options.py",
    "stream.max_in_flight": "tests/deployments/stream/test_broker.py",
    "stream.commit_interval_ms": "tests/deployments/stream/test_broker.py",
    "stream.drain_ms": "tests/deployments/stream/test_client_options.py",
    "stream.enabled": "tests/deployments/stream/test_client_options.py",
    "server.service_name": "tests/deployments/telemetry/test_tracer.py",
    "tracing.enabled": "tests/deployments/telemetry/test_tracer.py",
    "tracing.endpoint": "tests/deployments/telemetry/test_tracer.py",
    "tracing.protocol": "tests/deployments/telemetry/test_tracer.py",
    "tracing.headers": "tests/deployments/telemetry/test_tracer.py",
    "tracing.ca_file": "tests/deployments/telemetry/test_tracer.py",
    "tracing.sample_ratio": "tests/deployments/telemetry/test_spans.py",
    "tracing.excluded_paths": "tests/deployments/telemetry/test_spans.py",
    "tracing.max_queued_spans": "tests/deployments/telemetry/test_tracer.py",
    "tracing.export_interval_ms": "tests/deployments/telemetry/test_tracer.py",
    "tracing.export_timeout_ms": "tests/deployments/telemetry/test_tracer.py",
    "stream.requests_topic": "tests/deployments/stream/test_broker.py",
    "stream.responses_topic": "tests/deployments/stream/test_broker.py",
    "stream.dlq_topic": "tests/deployments/stream/test_broker.py",
    "stream.processing_timeout_ms": "tests/deployments/stream/test_processor.py",
    "stream.max_attempts": "tests/deployments/stream/test_processor.py",
    "stream.backoff_ms": "tests/deployments/stream/test_processor.py",
    "stream.backoff_max_ms": "tests/deployments/stream/test_processor.py",
    "prediction_log.enabled": "tests/deployments/prediction_log/test_prediction_log.py",
    "prediction_log.uri": "tests/deployments/prediction_log/test_prediction_log.py",
    "prediction_log.buffer_dir": "tests/deployments/prediction_log/test_prediction_log.py",
    "prediction_log.text": "tests/deployments/prediction_log/test_prediction_log.py",
    "prediction_log.hash_key": "tests/deployments/prediction_log/test_prediction_log.py",
    "prediction_log.rows_per_file": "tests/deployments/prediction_log/test_prediction_log.py",
    "prediction_log.flush_s": "tests/deployments/prediction_log/test_prediction_log.py",
    "prediction_log.max_queued_rows": "tests/deployments/prediction_log/test_prediction_log.py",
    "prediction_log.max_buffer_bytes": "tests/deployments/prediction_log/test_prediction_log.py",
    "prediction_log.compression": "tests/deployments/prediction_log/test_prediction_log.py",
    "prediction_log.partition_by": "tests/deployments/prediction_log/test_prediction_log.py",
    "autoscaling.target_drain_s": "tests/deployments/stream/test_client_options.py",
    "replicas.stream.num_replicas": "tests/deployments/stream/test_client_options.py",
    "replicas.stream.num_cpus": "tests/deployments/stream/test_client_options.py",
    "replicas.stream.num_gpus": "tests/deployments/stream/test_client_options.py",
    "replicas.stream.max_ongoing_requests": "tests/deployments/stream/test_client_options.py",
    "replicas.stream.max_replicas": "tests/deployments/stream/test_client_options.py",
}
HERE: set[str] = set()


def shows(*names: str) -> Any:
    HERE.update(names)
    return lambda test: test


def config(**parts: Any) -> AppConfig:
    return AppConfig.model_validate({"cache": {"l2": "none"}, **parts})


async def post(client: httpx.AsyncClient, text: str, **headers: str) -> httpx.Response:
    return await client.post(PREDICT, json={"text": text}, headers=headers)


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error_code"]


@shows("server.app_name", "server.docs_enabled")
def test_server_settings() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        assert (await client.get("/")).json()["service"] == "mine"
        assert (await client.get("/")).json()["docs_url"] is None
        assert (await client.get("/api/v1/docs")).status_code == 404
        assert (await client.get("/api/v1/openapi.json")).status_code == 404

    with_front(config(server={"app_name": "mine", "docs_enabled": False}), body)


@shows("server.console_enabled")
def test_the_console_can_be_left_out() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        assert (await client.get("/console")).status_code == (200 if enabled else 404)
        assert (await client.get("/")).json()["console_url"] == ("/console" if enabled else None)

    for enabled in (True, False):
        with_front(config(server={"console_enabled": enabled}), body)


@shows("limits.caller_texts_per_s", "limits.texts_per_s")
@pytest.mark.parametrize(
    ("limits", "statuses"),
    [
        ({}, [200, 200, 200]),
        ({"caller_texts_per_s": 2}, [200, 429, 200]),
        ({"texts_per_s": 2}, [200, 429, 429]),
    ],
)
def test_texts_have_a_rate_of_a_caller_and_of_all(
    limits: dict[str, float], statuses: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    key = front_key({"RAY_AUTH_TOKEN": "a" * 64})

    async def body(client: httpx.AsyncClient) -> None:
        got = []
        for number, address in enumerate(("192.0.2.1", "192.0.2.1", "192.0.2.2")):
            texts = [f"a text {number} {i}" for i in range(900)]
            headers = {"X-Sentigraph-Front": f"{key} {address}"}
            answer = await client.post(BATCH, json={"texts": texts}, headers=headers)
            got.append(answer.status_code)
            if answer.status_code == 429:
                assert code(answer) == (429, "E4003")
                assert int(answer.headers["retry-after"]) > 400
        assert got == statuses

    with_front(config(limits=limits), body)


@shows("server.metrics_enabled")
def test_the_metrics_page_can_be_left_out() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        for path in ("/metrics", "/api/v1/metrics"):
            assert (await client.get(path)).status_code == (200 if enabled else 404)

    for enabled in (True, False):
        with_front(config(server={"metrics_enabled": enabled}), body)


@shows("server.metrics_cache_ms")
@pytest.mark.parametrize(("cache_ms", "same"), [(0, False), (60_000, True)])
def test_a_metrics_page_is_shown_again_for_a_while(cache_ms: int, same: bool) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        first = (await client.get("/metrics")).text
        assert ((await client.get("/metrics")).text == first) is same

    with_front(config(server={"metrics_cache_ms": cache_ms}), body)


@shows("model.allowed_names")
def test_only_allowed_models_are_served() -> None:
    assert config(model={"allowed_names": ["sentiment", "reviews"]}).model.name == "sentiment"
    with pytest.raises(ValueError, match=r"model\.name=sentiment is not among"):
        config(model={"allowed_names": ["reviews"]})


@shows("server.access_log", "server.log_level")
@pytest.mark.parametrize(
    ("server", "lines"),
    [({}, 1), ({"access_log": False}, 0), ({"log_level": "WARNING"}, 0)],
)
def test_one_access_line_without_the_text(server: dict[str, Any], lines: int) -> None:
    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    async def body(client: httpx.AsyncClient) -> None:
        await post(client, "my secret words")

    found: list[logging.LogRecord] = []
    logger = logging.getLogger("sentigraph.access")
    handler = Kept()
    logger.addHandler(handler)
    try:
        with_front(config(server=server), body)
    finally:
        logger.removeHandler(handler)
    written = [line for record in found for line in record.getMessage().splitlines()]
    assert len(written) == lines
    for line in written:
        fields = json.loads(line)
        assert fields["event"] == "request"
        assert fields["http_path"] == PREDICT
        assert fields["http_status"] == 200
        assert "secret" not in line


@shows("limits.max_text_chars", "limits.max_batch_texts", "limits.max_body_bytes")
def test_size_limits() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        assert (await post(client, "x" * 20)).status_code == 200
        assert code(await post(client, "x" * 21)) == (422, "E1002")
        two = await client.post(BATCH, json={"texts": ["a", "b"]})
        assert two.status_code == 200
        three = await client.post(BATCH, json={"texts": ["a", "b", "c"]})
        assert code(three) == (422, "E1005")
        assert code(await post(client, "x" * 1_024)) == (413, "E1001")

    limits = {"max_text_chars": 20, "max_batch_texts": 2, "max_body_bytes": 1_024}
    with_front(config(limits=limits), body)


@shows("limits.default_deadline_ms", "limits.max_deadline_ms")
def test_deadlines() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        assert code(await post(client, "default is too short")) == (504, "E2003")
        asked = await post(client, "asked for enough", **{"X-Deadline-Ms": "200"})
        assert asked.status_code == 200
        stages.delay_s = 0.4
        cut = await post(client, "cut to the longest", **{"X-Deadline-Ms": "60000"})
        assert code(cut) == (504, "E2003")

    stages = Stages(delay_s=0.1)
    limits = {"default_deadline_ms": 20, "max_deadline_ms": 300}
    with_front(config(limits=limits), body, stages=stages)


@shows("limits.max_queued_texts", "batching.max_hop_texts")
def test_queue_and_hop_sizes() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        busy = asyncio.create_task(post(client, "busy"))
        await asyncio.sleep(0.05)
        texts, headers = {"texts": list("abcde")}, {"x-priority": "interactive"}
        full = asyncio.create_task(client.post(BATCH, json=texts, headers=headers))
        await asyncio.sleep(0.05)
        refused = await post(client, "one too many")
        assert code(refused) == (429, "E4005")
        assert refused.headers["retry-after"] == "1"
        assert (await busy).status_code == (await full).status_code == 200
        assert stages.sizes == [1, 2, 2, 1]

    stages = Stages(delay_s=0.2)
    limits = {"max_queued_texts": 5, "max_batch_texts": 5}
    with_front(config(limits=limits, batching={"max_hop_texts": 2}), body, stages=stages)


@shows("cache.l1_max_bytes", "cache.ttl_s")
@pytest.mark.parametrize(
    ("cache", "wait_s", "cached"),
    [({}, 0, True), ({"l1_max_bytes": 0}, 0, False), ({"ttl_s": 1}, 1.1, False)],
)
def test_level_one(cache: dict[str, Any], wait_s: float, cached: bool) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        await post(client, "again")
        await asyncio.sleep(wait_s)
        assert (await post(client, "again")).json()["cached"] is cached

    with_front(config(cache={"l2": "none", **cache}), body)


@shows("limits.max_wait_ms")
@pytest.mark.parametrize(("max_wait_ms", "refused"), [(250, 2), (60_000, 0)])
def test_what_would_wait_too_long_is_refused_at_once(max_wait_ms: int, refused: int) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        for i in range(20):
            await post(client, f"learn {i:02}")
        answers = await asyncio.gather(*(post(client, f"await {i:02}") for i in range(5)))
        late = [answer for answer in answers if answer.status_code != 200]
        assert len(late) == refused
        for answer in late:
            assert code(answer) == (429, "E4005")
            assert answer.headers["retry-after"] == "1"
            assert 0 < answer.json()["context"]["retry_after_ms"] <= 300

    stages = Stages(delay_s=0.1)
    one_by_one = {"max_hop_texts": 1, "max_hops_in_flight": 1}
    limited = config(limits={"max_wait_ms": max_wait_ms}, batching=one_by_one)
    with_front(limited, body, stages=stages)


@shows("cache.l2_timeout_ms")
@pytest.mark.parametrize(("timeout_ms", "cached"), [(1_000, True), (50, False)])
def test_level_two_is_waited_for_no_longer_than_allowed(timeout_ms: int, cached: bool) -> None:
    class Slow(CacheReplica):
        async def get_many(self, keys: Any) -> Any:
            await asyncio.sleep(0.2)
            return await super().get_many(keys)

    async def body(client: httpx.AsyncClient) -> None:
        await post(client, "again")
        await asyncio.sleep(0.05)
        assert (await post(client, "again")).json()["cached"] is cached

    levels = {"l1_max_bytes": 0, "l2_timeout_ms": timeout_ms}
    with_front(config(cache=levels), body, cache=Slow(100_000, 60))


def graph(args: dict[str, Any]) -> dict[str, Deployment]:
    """Deployments of the built graph by name; nothing is started."""
    found: dict[str, Deployment] = {}

    def walk(application: Any) -> None:
        deployment = application._bound_deployment
        found[deployment.name] = deployment
        called = [*deployment.init_args, *deployment.init_kwargs.values()]
        for upstreams in [given for given in called if isinstance(given, Upstreams)]:
            called += [getattr(upstreams, field.name) for field in fields(upstreams)]
            called += [mounted for _, mounted in upstreams.mounts]
        for child in called:
            if hasattr(child, "_bound_deployment"):
                walk(child)

    walk(build(args))
    return found


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"topology": "fused", "cache": {"l2": "none"}},
        {"stream": {"enabled": True}, "jobs": {"enabled": True}, "cache": {"l2": "redis"}},
    ],
)
def test_the_names_of_the_deployments_are_known_without_building(args: dict[str, Any]) -> None:
    assert deployment_names(AppConfig.model_validate(args)) == graph(args).keys()


@shows("cache.l2", "cache.l2_max_bytes")
def test_the_cache_deployment_is_sized_or_left_out() -> None:
    assert graph({"cache": {"l2_max_bytes": 4_096}})["Cache"].init_args[0] == 4_096
    assert "Cache" not in graph({"cache": {"l2": "none"}})
    shared = graph({"cache": {"l2": "redis"}, "replicas": {"cache": {"num_replicas": 2}}})["Cache"]
    assert (shared.func_or_class.__name__, shared.num_replicas) == ("RedisCache", 2)


@shows("batching.max_hops_in_flight", "model.intra_op_threads")
def test_hops_and_threads_reach_their_replicas() -> None:
    for ingresses, hops in ((1, 6), (2, 3)):
        sizes = {"model": {"num_replicas": 4}, "ingress": {"num_replicas": ingresses}}
        four = graph({"replicas": sizes})
        assert four["Ingress"].init_args[1].hops_in_flight == hops
    chosen = graph({"batching": {"max_hops_in_flight": 3}, "model": {"intra_op_threads": 5}})
    assert chosen["Ingress"].init_args[1].hops_in_flight == 3
    assert chosen["Model"].init_args[1] == 5


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({}, (1, 6, 1)),
        ({"model": {"intra_op_threads": 3}}, (1, 2, 3)),
        ({"replicas": {"model": {"num_replicas": 2}}}, (2, 3, 1)),
        ({"replicas": {"model": {"num_replicas": 1, "num_gpus": 1}}}, (1, 1, 1)),
    ],
)
def test_a_fused_replica_has_an_engine_for_each_core_and_there_may_be_more(
    sizes: dict[str, Any], expected: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.serve_options.available_cores", lambda: 6.0)
    ingress = graph({"topology": "fused"} | sizes)["Ingress"]
    share = ingress.init_args[1]
    assert (ingress.num_replicas, share.engines, share.threads) == expected


@shows(
    *(
        f"replicas.{name}.{field}"
        for name in ("ingress", "cache", "tokenizer", "model", "registry", "jobs", "insight")
        for field in ("num_replicas", "num_cpus", "num_gpus", "max_ongoing_requests")
    )
)
@pytest.mark.parametrize(
    "name", ["ingress", "cache", "tokenizer", "model", "registry", "jobs", "insight"]
)
def test_replica_sizes_reach_ray(name: str) -> None:
    count = 1 if name in ("cache", "registry", "jobs", "insight") else 3
    size = {"num_replicas": count, "num_cpus": 0.7, "num_gpus": 0.5, "max_ongoing_requests": 77}
    args = {"replicas": {name: size}, "jobs": {"enabled": True}, "drift": {"enabled": True}}
    deployment = graph(args)[name.capitalize()]
    assert deployment.num_replicas == count
    assert deployment.ray_actor_options == {"num_cpus": 0.7, "num_gpus": 0.5}
    assert deployment.max_ongoing_requests == 77


@shows(
    *(f"replicas.{name}.max_replicas" for name in ("ingress", "tokenizer", "model")),
    "autoscaling.target_busy_ratio",
    "autoscaling.target_wait_ms",
    "autoscaling.target_ongoing_requests",
    "autoscaling.upscale_delay_s",
    "autoscaling.downscale_delay_s",
)
@pytest.mark.parametrize("topology", ["split", "fused"])
def test_bounds_and_policy_reach_ray(topology: str) -> None:
    sizes = {name: {"num_replicas": 2, "max_replicas": 9} for name in ("ingress", "tokenizer")}
    deployments = graph(
        {
            "topology": topology,
            "replicas": sizes | {"model": {"num_replicas": 2, "max_replicas": 9}},
            "autoscaling": {
                "target_busy_ratio": 0.5,
                "target_wait_ms": 7,
                "target_ongoing_requests": 11,
                "upscale_delay_s": 3,
                "downscale_delay_s": 33,
            },
        }
    )
    model = "Model" if topology == "split" else "Ingress"
    for name, deployment in deployments.items():
        bounds = deployment._deployment_config.autoscaling_config
        if name in ("Registry", "Cache"):
            assert bounds is None
            continue
        assert (bounds.min_replicas, bounds.max_replicas) == (2, 9)
        assert (bounds.upscale_delay_s, bounds.downscale_delay_s) == (3, 33)
        assert bounds.target_ongoing_requests == 11
        assert ("ModelPolicy" in str(bounds.policy.policy_function)) == (
            name in (model, "Tokenizer")
        )
    assert bounds_of(deployments[model]) == {
        "target_busy_ratio": 0.5,
        "target_wait_ms": 7,
        "target_ongoing_requests": 11,
    }
    # As many RPCs may be in flight as the most replicas can use.
    hops = deployments["Ingress"].init_args[1].hops_in_flight
    assert hops == (7 if topology == "split" else 1)


@shows("drift.enabled")
def test_all_that_answer_texts_send_counts_where_drift_is_on() -> None:
    on = {name: {"enabled": True} for name in ("drift", "jobs", "stream")}
    deployments = graph(on)
    assert "Insight" in deployments
    assert deployments["Ingress"].init_args[2].insight is not None
    for name in ("Stream", "Jobs"):
        assert deployments[name].init_kwargs["insight"] is not None
    off = graph(on | {"drift": {}})
    assert "Insight" not in off
    assert off["Ingress"].init_args[2].insight is None


@shows("feedback.enabled", "explanations.enabled", "kpis.enabled")
@pytest.mark.parametrize("part", ["feedback", "explanations", "kpis"])
def test_any_part_brings_the_insight_deployment(part: str) -> None:
    assert "Insight" in graph({part: {"enabled": True}})


@shows("jobs.enabled")
def test_jobs_are_a_deployment_where_they_are_on() -> None:
    assert "Jobs" not in graph({})
    assert "Jobs" in graph({"jobs": {"enabled": True}})


def bounds_of(deployment: Deployment) -> dict[str, float]:
    kwargs: dict[str, float] = deployment._deployment_config.autoscaling_config.policy.policy_kwargs
    return kwargs


@shows(*(f"replicas.{name}.max_replicas" for name in ("cache", "registry", "jobs", "insight")))
@pytest.mark.parametrize("name", ["cache", "registry", "jobs", "insight"])
def test_what_holds_state_does_not_grow(name: str) -> None:
    with pytest.raises(Exception, match=rf"replicas\.{name}\.max_replicas=3"):
        build({"replicas": {name: {"max_replicas": 3}}})


def test_every_setting_is_shown_somewhere() -> None:
    assert HERE | set(ELSEWHERE) == set(settings(AppConfig))
    assert not HERE & set(ELSEWHERE)
    root = Path(__file__).parents[2]
    for name, file in ELSEWHERE.items():
        assert name.rpartition(".")[2] in (root / file).read_text(), name


def test_a_wrong_setting_fails_the_build_with_its_name() -> None:
    with pytest.raises(Exception, match=r"limits\.max_text_chars"):
        build({"limits": {"max_text_chars": 0}})
