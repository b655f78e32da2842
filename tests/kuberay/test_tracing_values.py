"""`tracing` of the chart: the application sends spans, and the network lets them out."""

from typing import Any

import pytest
import yaml
from manifests import merged, render, values_of
from operator_rules import ray_service

from configs.load import load_config

pytestmark = pytest.mark.slow
ENDPOINT = "http://otel-collector.observability.svc:4318/v1/traces"


def rendered(**tracing: Any) -> list[dict[str, Any]]:
    values = {"enabled": True, "endpoint": ENDPOINT, "protocol": "http", **tracing}
    return render(merged(values_of("development"), {"tracing": values}))


def test_the_application_gets_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROFILE", raising=False)
    documents = rendered(sampleRatio=0.25)
    content = yaml.safe_load(ray_service(documents)["spec"]["serveConfigV2"])
    args = content["applications"][0]["args"]
    tracing = load_config({"tracing": args["tracing"]}).tracing
    assert tracing.enabled
    assert (tracing.endpoint, tracing.protocol) == (ENDPOINT, "http")
    assert tracing.sample_ratio == 0.25
    # The registry's address, which the same template sets, is still there.
    assert args["registry"]["tracking_uri"].startswith("http://")


def test_the_network_lets_spans_out_to_that_port_alone() -> None:
    documents = rendered(namespaces=["observability"], cidrs=["10.9.0.0/16"])
    [policy] = [d for d in documents if d["metadata"]["name"] == "sentigraph-ray"]
    [rule] = [
        r for r in policy["spec"]["egress"] if {"protocol": "TCP", "port": 4318} in r["ports"]
    ]
    assert rule["ports"] == [{"protocol": "TCP", "port": 4318}]
    assert rule["to"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observability"}}},
        {"ipBlock": {"cidr": "10.9.0.0/16"}},
    ]


def test_nothing_is_opened_where_tracing_is_off() -> None:
    documents = render(values_of("development"))
    assert "4317" not in yaml.safe_dump(documents)
    assert "tracing" not in ray_service(documents)["spec"]["serveConfigV2"]
