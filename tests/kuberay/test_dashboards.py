"""Dashboards as ConfigMaps that Grafana's sidecar finds, and the hook of the Ray dashboard."""

import json

import pytest
from manifests import CHART, ROOT, Document, merged, render, values_of
from operator_rules import container, groups, variables

from operations.local_stack.monitoring import UNPREFIX

FOLDER = ROOT / "monitoring" / "dashboards"
# `kubectl apply` keeps the last manifest in an annotation, and those end at 256 KiB.
MOST_BYTES = 256 * 1024
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return render(values_of("production"))


def dashboards(documents: list[Document]) -> dict[str, Document]:
    return {
        document["metadata"]["name"]: document
        for document in documents
        if document["kind"] == "ConfigMap" and "-dashboard-" in document["metadata"]["name"]
    }


def test_each_file_is_a_config_map_that_the_sidecar_finds(documents: list[Document]) -> None:
    found = dashboards(documents)
    contents = {}
    for document in found.values():
        assert document["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert document["metadata"]["annotations"] == {"grafana_folder": "sentigraph"}
        assert len(json.dumps(document)) < MOST_BYTES
        contents |= document["data"]
    files = {
        f"sentigraph-{str(path.relative_to(FOLDER)).replace('/', '-')}": path.read_text().strip()
        for path in FOLDER.rglob("*.json")
    }
    assert len(files) >= 10
    # The sidecar writes all of them to one folder: a name that is there twice would be lost.
    assert len(contents) == len(found)
    assert contents == files
    uids = [json.loads(text)["uid"] for text in contents.values()]
    assert len(uids) == len(set(uids))


def test_the_chart_links_the_folder_and_does_not_copy_it() -> None:
    link = CHART / "files" / "dashboards"
    assert link.is_symlink()
    assert link.resolve() == FOLDER


@pytest.mark.parametrize("off", [{"enabled": False}, {"dashboards": {"enabled": False}}])
def test_they_can_be_left_to_another_release(off: dict[str, object]) -> None:
    values = merged(values_of("production"), {"monitoring": off})
    assert dashboards(render(values)) == {}


def test_the_ray_dashboard_finds_grafana_and_prometheus(documents: list[Document]) -> None:
    for group in groups(documents).values():
        environment = variables(group)
        assert environment["RAY_GRAFANA_HOST"] == (
            "http://kube-prometheus-stack-grafana.monitoring.svc"
        )
        assert environment["RAY_GRAFANA_IFRAME_HOST"] == "https://grafana.example.com"
        assert environment["RAY_PROMETHEUS_HOST"].endswith(":9090")
        assert environment["RAY_PROMETHEUS_NAME"] == "Prometheus"
        of_cluster = [e for e in container(group)["env"] if "CLUSTER_FILTER" in e["name"]]
        assert of_cluster[0]["valueFrom"]["fieldRef"]["fieldPath"] == (
            "metadata.labels['ray.io/cluster']"
        )
    [monitor] = [document for document in documents if document["kind"] == "PodMonitor"]
    assert "ray.io/cluster" in monitor["spec"]["podTargetLabels"]
    [policy] = [
        document
        for document in documents
        if document["kind"] == "NetworkPolicy" and document["metadata"]["name"].endswith("-head")
    ]
    ports = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
    assert {3000, 9090} <= set(ports)


def test_without_a_grafana_the_ray_dashboard_shows_no_places_for_it() -> None:
    documents = render(values_of("development"))
    for group in groups(documents).values():
        environment = variables(group)
        assert environment["RAY_GRAFANA_HOST"] == "DISABLED"
        assert "RAY_GRAFANA_IFRAME_HOST" not in environment
        assert "RAY_PROMETHEUS_HOST" not in environment


def test_the_local_stack_takes_the_prefix_off_as_the_chart_does(documents: list[Document]) -> None:
    [monitor] = [document for document in documents if document["kind"] == "PodMonitor"]
    for endpoint in monitor["spec"]["podMetricsEndpoints"]:
        [rule] = endpoint["metricRelabelings"]
        assert rule == {
            "sourceLabels": UNPREFIX["source_labels"],
            "regex": UNPREFIX["regex"],
            "targetLabel": UNPREFIX["target_label"],
            "replacement": UNPREFIX["replacement"],
        }
