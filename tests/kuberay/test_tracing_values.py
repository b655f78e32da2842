"""Tracing in the chart: the application sends spans, and the network lets them out."""

from typing import Any

import helm_python as helm
import pytest
from manifests import Document, merged, render, values_of
from operator_rules import serve_config

from configs.load import load_config

pytestmark = pytest.mark.slow
ENDPOINT = "http://otel-collector.observability.svc:4317"


def rendered(reach: dict[str, Any] | None, **environment: str) -> list[Document]:
    tracing = {} if environment else {"tracing": {"enabled": True, "endpoint": ENDPOINT}}
    change = {
        "serve": {"application": {"args": tracing}},
        "environment": environment,
        "networkPolicy": {"reaches": {"traces": reach}},
    }
    return render(merged(values_of("development"), change))


def test_spans_leave_for_the_collector_alone() -> None:
    documents = rendered({"namespaces": ["observability"], "ports": [4317]})
    args = serve_config(documents)["applications"][0]["args"]
    assert load_config({"tracing": args["tracing"]}).tracing.endpoint == ENDPOINT
    [policy] = [d for d in documents if d["metadata"]["name"] == "sentigraph-serving"]
    [rule] = [
        rule
        for rule in policy["spec"]["egress"]
        if rule["ports"] == [{"protocol": "TCP", "port": 4317}]
    ]
    namespace = {"kubernetes.io/metadata.name": "observability"}
    assert rule["to"] == [{"namespaceSelector": {"matchLabels": namespace}}]


@pytest.mark.parametrize("environment", [{}, {"MLOPS_ENABLE_TRACING": "true"}])
def test_a_closed_way_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(helm.HelmRenderError, match=r"reaches\.traces is needed"):
        rendered(None, **environment)
