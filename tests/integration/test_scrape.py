"""What rules and panels ask for is in a scrape of the running graph, by a real Prometheus.

``python -m tests.system.series_check`` is the long form: ten minutes, every door,
nothing left out.
"""

import re
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import yaml

from benchmarks.harness.kafka import produce
from benchmarks.harness.servers import KafkaServer
from benchmarks.harness.stream_messages import messages
from monitoring.dashboards import BOARDS
from monitoring.promql import series_in, without_grafana
from monitoring.series import asked_for
from operations.local_stack.ray_auth import read_token
from operations.local_stack.stack import Stack
from tests.system.prometheus import PROGRAM, Prometheus

# Of parts that this stack does not have: keys, Vault, a prediction log, webhooks, a shadow, a card,
# feedback, Ray's autoscaler.
# And of losses, which other tests bring about: a message tried again, a replica that ended.
OF_OTHER_PARTS = {
    "kafka_messages_failed_total",
    "ray_cluster_active_nodes",
    "ray_serve_health_check_failures_total",
    "ray_serve_replica_shutdown_duration_ms_count",
    "sentiment_access_refusals_total",
    "sentiment_gpu_memory_bytes",
    "sentiment_label_queue",
    "sentiment_live_accuracy",
    "sentiment_vault_up",
    "sentiment_vault_reads_total",
    "sentiment_vault_rotations_total",
    "sentiment_prediction_log_rows_total",
    "sentiment_job_webhooks_total",
    "sentiment_shadow_predictions_total",
}


@pytest.fixture(scope="module")
def prometheus(
    stack: Stack, client: httpx.Client, kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """It scrapes by the file that the stack wrote, while every door is opened once."""
    if PROGRAM is None:
        pytest.skip("prometheus is not installed: apt-get install prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    with Prometheus(stack.logs.parent / "monitoring" / "prometheus.yml", folder) as server:
        text = f"A lovely morning {uuid.uuid4()}"
        answer = client.post("/predict", json={"text": text}).json()
        assert client.post("/predict", json={"text": text}).json()["cached"]
        judged = {"prediction_id": answer["prediction_id"], "corrected_label": "NEGATIVE"}
        assert client.post("/feedback", json=judged).status_code == 201
        texts = {"texts": [f"{text} {i}" for i in range(100)]}
        assert client.post("/predict/batch", json=texts).status_code == 200
        come_too_late(client, text)
        sampled = {"traceparent": f"00-{uuid.uuid4().hex}-00f067aa0ba902b7-01"}
        assert client.post("/predict", json={"text": "traced"}, headers=sampled).status_code == 200
        assert client.post("/batch/predict", json=texts).status_code == 202
        produce(kafka.address, list(messages([text], 20, 5, prefix="scraped")))
        ends_s = time.monotonic() + 180
        while missing := asked_for() - OF_OTHER_PARTS - server.names():
            assert time.monotonic() < ends_s, sorted(missing)
            time.sleep(1)
        yield server


def come_too_late(client: httpx.Client, text: str) -> None:
    """Texts whose deadline passes behind others that came before."""

    def ask(number: int) -> None:
        crowd = {"texts": [f"{text} crowd {number} {i}" for i in range(200)]}
        client.post("/predict/batch", json=crowd)

    with ThreadPoolExecutor(8) as pool:
        for number in range(8):
            pool.submit(ask, number)
            late = {"json": {"text": f"{text} late {number}"}}
            pool.submit(client.post, "/predict", **late, headers={"X-Deadline-Ms": str(2**number)})


def test_every_panel_asks_for_what_prometheus_has(prometheus: Prometheus) -> None:
    empty = []
    for board in BOARDS:
        for panel in board.panels():
            for query in panel.queries:
                found = prometheus.last(without_grafana(query.expr))
                if not found and not re.search(r"rate\(|increase\(", query.expr):
                    empty.append((board.name, panel.title, series_in(query.expr)))
    # What rises needs two scrapes, and traffic between them.
    assert [one for one in empty if not one[2] & OF_OTHER_PARTS] == []


def test_our_series_come_under_their_own_names(prometheus: Prometheus) -> None:
    names = prometheus.names()
    assert "sentiment_requests_total" in names
    assert not [name for name in names if name.startswith(("ray_sentiment_", "ray_kafka_"))]
    serving = prometheus.last('sentiment_model_loaded{deployment="Ingress"} == 1')
    assert serving
    assert {"replica", "application"} <= set(serving[0]["metric"])


def test_the_rays_dashboard_is_told_of_grafana(stack: Stack, grafana: str) -> None:
    token = read_token(stack.environ)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = httpx.get(f"{stack.dashboard_url}/api/grafana_health", headers=headers, timeout=30)
    told = answer.json()["data"]
    assert told["grafanaHost"] == grafana
    folder = stack.logs.parent / "monitoring"
    provider = yaml.safe_load(
        (folder / "grafana" / "provisioning" / "dashboards" / "default.yml").read_text()
    )["providers"][0]
    dashboards = Path(provider["options"]["path"])
    contents = [path.read_text() for path in dashboards.glob("*.json")]
    uids = [*told["dashboardUids"].values(), *(f"sentigraph-{board.name}" for board in BOARDS)]
    assert [uid for uid in uids if not any(f'"{uid}"' in content for content in contents)] == []
