"""A registry on a sqlite file and its HTTP application, one for each test module."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from registry_api import Api

from configs.schema.app import AppConfig
from configs.schema.registry import RegistryConfig
from deployments.rollout.change_feed import ChangeFeed
from registry.model_registry import ModelRegistry


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> AppConfig:
    folder = tmp_path_factory.mktemp("api")
    return AppConfig(
        registry=RegistryConfig(
            tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
            artifact_root=str(folder / "artifacts"),
            bundle_cache_dir=str(folder / "bundles"),
            max_artifact_bytes=3_000_000,
        )
    )


@pytest.fixture(scope="module")
def registry(config: AppConfig) -> ModelRegistry:
    return ModelRegistry(config.registry.tracking_uri, config.registry.artifact_root)


@pytest.fixture(scope="module")
def news() -> ChangeFeed:
    return ChangeFeed()


@pytest.fixture(scope="module")
def api(config: AppConfig, registry: ModelRegistry, news: ChangeFeed) -> Iterator[Api]:
    api = Api(config, registry, news)
    yield api
    assert not api.parts_held


@pytest.fixture
def model(api: Api) -> str:
    name = f"m-{uuid4().hex[:8]}"
    made = api("POST", "", json={"name": name, "description": "Tells moods apart."})
    assert made.status_code == 201, made.text
    return name
