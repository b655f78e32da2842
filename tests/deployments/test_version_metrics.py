"""Served and registered versions: what an ingress shows, what the Registry deployment shows."""

import pytest
from prometheus_client import CollectorRegistry

from deployments.live import LiveModel
from deployments.router import Routes, Slot
from deployments.version_metrics import VersionMetrics
from registry.watch import Place

DIGEST = "ab" * 32


def live(version: int) -> LiveModel:
    return LiveModel("sentiment", version, DIGEST, ("NEG", "POS"), "onnx", "int8", 64, "registry")


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
    versions.serve(Routes(1, live(3), challenger=Slot(live(4), 0.05)))
    assert shown(registry, "sentiment_serving_version") == {
        "champion": 3,
        "challenger": 4,
        "shadow": 0,
    }
    versions.serve(Routes(2, live(4), shadow=Slot(live(5), 1.0)))
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


def test_the_registry_shows_the_configured_alias_and_slots_with_weight(
    registry: CollectorRegistry, versions: VersionMetrics
) -> None:
    places = {
        "champion": Place(9, DIGEST, 1.0),
        "blessed": Place(3, DIGEST, 1.0),
        "challenger": Place(4, DIGEST, 0.0),
        "shadow": Place(5, DIGEST, 0.5),
    }
    versions.register("sentiment", "blessed", places)
    assert shown(registry, "sentiment_registry_version") == {
        "champion": 3,
        "challenger": 0,
        "shadow": 5,
    }
    versions.register("sentiment", "blessed", {})
    assert set(shown(registry, "sentiment_registry_version").values()) == {0}
