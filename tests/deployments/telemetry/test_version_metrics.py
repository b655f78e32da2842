"""Served and registered versions: what an ingress shows, what the Registry deployment shows."""

import math

import pytest
from prometheus_client import CollectorRegistry

from deployments.telemetry.version_metrics import VersionMetrics
from deployments.versions import RoutingTable, ServedVersion, TrafficSlot
from registry.lifecycle.alias_watcher import AliasAssignment

DIGEST = "ab" * 32


def live(version: int) -> ServedVersion:
    return ServedVersion(
        "sentiment", version, DIGEST, ("NEG", "POS"), "onnx", "int8", 64, "registry"
    )


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def versions(registry: CollectorRegistry) -> VersionMetrics:
    return VersionMetrics(registry)


def shown(registry: CollectorRegistry, name: str) -> dict[str, float | None]:
    return {
        role: registry.get_sample_value(name, {"name": "sentiment", "role": role})
        for role in ("champion", "challenger", "shadow")
    }


def test_an_ingress_shows_every_role(registry: CollectorRegistry, versions: VersionMetrics) -> None:
    versions.serve(RoutingTable(1, live(3), challenger=TrafficSlot(live(4), 0.05)))
    assert shown(registry, "sentiment_serving_version") == {
        "champion": 3,
        "challenger": 4,
        "shadow": 0,
    }
    versions.serve(RoutingTable(2, live(4), shadow=TrafficSlot(live(5), 1.0)))
    assert shown(registry, "sentiment_serving_version") == {
        "champion": 4,
        "challenger": 0,
        "shadow": 5,
    }
    info = {"name": "sentiment", "digest": DIGEST}
    values = [
        registry.get_sample_value("sentiment_model_version_info", {**info, "version": number})
        for number in ("3", "4", "5")
    ]
    assert values == [None, 1, 1]


def test_an_ingress_shows_whether_the_registry_is_followed(
    registry: CollectorRegistry, versions: VersionMetrics
) -> None:
    def up() -> float | None:
        return registry.get_sample_value("sentiment_registry_up")

    assert math.isnan(up() or 0)
    versions.serve(RoutingTable(1, live(3)))
    assert up() == 1
    versions.serve(RoutingTable(2, live(3), registry_away=True))
    assert up() == 0


def test_the_registry_shows_the_configured_alias_and_slots_with_weight(
    registry: CollectorRegistry, versions: VersionMetrics
) -> None:
    places = {
        "champion": AliasAssignment(9, DIGEST, 1.0),
        "blessed": AliasAssignment(3, DIGEST, 1.0),
        "challenger": AliasAssignment(4, DIGEST, 0.0),
        "shadow": AliasAssignment(5, DIGEST, 0.5),
    }
    versions.register("sentiment", "blessed", places)
    assert shown(registry, "sentiment_registry_version") == {
        "champion": 3,
        "challenger": 0,
        "shadow": 5,
    }
    versions.register("sentiment", "blessed", {})
    assert set(shown(registry, "sentiment_registry_version").values()) == {0}
