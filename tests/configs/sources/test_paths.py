"""Relative paths become absolute under the home folder."""

from pathlib import Path

import pytest

from configs.load import load_config
from configs.sources.paths import absolute_path, absolute_uri

HOME = Path("/srv/home")


@pytest.mark.parametrize(
    ("uri", "absolute"),
    [
        ("sqlite:///a/b.db", "sqlite:////srv/home/a/b.db"),
        ("sqlite:///.state/b.db?timeout=5", "sqlite:////srv/home/.state/b.db?timeout=5"),
        ("sqlite+pysqlite:///b.db", "sqlite+pysqlite:////srv/home/b.db"),
        ("sqlite:////var/b.db", "sqlite:////var/b.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite://", "sqlite://"),
        ("postgresql://db/mlflow", "postgresql://db/mlflow"),
        ("http://mlflow:5000", "http://mlflow:5000"),
    ],
)
def test_uris(uri: str, absolute: str) -> None:
    assert absolute_uri(uri, HOME) == absolute


@pytest.mark.parametrize(
    ("path", "absolute"),
    [
        ("models/sentiment", "/srv/home/models/sentiment"),
        ("/models", "/models"),
        ("s3://bucket/artifacts", "s3://bucket/artifacts"),
        ("mlflow-artifacts:/1", "mlflow-artifacts:/1"),
    ],
)
def test_paths(path: str, absolute: str) -> None:
    assert absolute_path(path, HOME) == absolute


def test_a_loaded_configuration_has_no_relative_path() -> None:
    registry = load_config(environ={}, home=HOME).registry
    assert registry.tracking_uri == "sqlite:////srv/home/.sentigraph/mlflow.db"
    assert registry.artifact_root == "/srv/home/.sentigraph/artifacts"
    assert registry.bundle_cache_dir == "/srv/home/.sentigraph/bundles"
    assert registry.bundled_model_dir == "/srv/home/models/sentiment"
