"""The Registry deployment resolves from MLflow, hands out bundles, and outlives MLflow."""

import asyncio
from pathlib import Path

import pytest

from configs.schema import AppConfig, ModelConfig, RegistryConfig
from deployments.fetch import CHUNK_BYTES, BundleCache
from deployments.rollout import Registry
from registry.bundle import open_bundle, write_bundle
from registry.errors import BackendUnavailable, IntegrityError, ModelNotFound
from registry.model_registry import ModelRegistry
from registry.records import EngineHints

DEAD = "http://127.0.0.1:9"


def config(folder: Path, tracking_uri: str) -> AppConfig:
    return AppConfig(
        registry=RegistryConfig(
            tracking_uri=tracking_uri,
            artifact_root=str(folder / "artifacts"),
            bundle_cache_dir=str(folder / "bundles"),
            bundled_model_dir=str(folder / "bundled"),
        )
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rollout")
    (folder / "weights").write_bytes(bytes(range(256)) * 10_000)
    (folder / "tokenizer").write_text("{}")
    write_bundle(
        folder / "bundled",
        name="sentiment",
        labels=("NEG", "POS"),
        files={"model.onnx": folder / "weights", "tokenizer.json": folder / "tokenizer"},
        max_tokens=16,
        engine=EngineHints("onnx", "int8", ("input_ids",), 0),
    )
    return folder


@pytest.fixture(scope="module")
def registry(folder: Path) -> Registry:
    return Registry(config(folder, f"sqlite:///{folder / 'mlflow.db'}"))


def test_an_empty_registry_gets_the_bundled_model_as_champion(
    registry: Registry, folder: Path
) -> None:
    live = asyncio.run(registry.live())
    assert (live.name, live.version, live.source) == ("sentiment", 1, "registry")
    assert live.digest == open_bundle(folder / "bundled").digest
    assert live.labels == ("NEG", "POS")


@pytest.mark.usefixtures("registry")
def test_the_configured_name_and_alias_are_served(folder: Path) -> None:
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    models = ModelRegistry(uri, folder / "artifacts")
    made = models.store.register("other", folder / "bundled", actor="test")
    models.point("other", "blessed", made.version, actor="test", reason="test")
    base = config(folder, uri)
    chosen = base.model_copy(update={"model": ModelConfig(name="other", alias="blessed")})
    assert asyncio.run(Registry(chosen).live()).name == "other"


def test_a_node_without_the_bundle_reads_it_through_the_graph(
    registry: Registry, tmp_path: Path
) -> None:
    async def body() -> None:
        live = await registry.live()
        reads: list[int] = []

        class Counted:
            async def read(self, digest: str, name: str, offset: int) -> bytes:
                chunk = await registry.read(digest, name, offset)
                reads.append(len(chunk))
                return chunk

        bundle = await BundleCache(tmp_path, Counted()).get(live.digest)
        assert bundle.digest == live.digest
        assert max(reads) == CHUNK_BYTES
        count = len(reads)
        await BundleCache(tmp_path, Counted()).get(live.digest)
        assert len(reads) == count

    asyncio.run(body())


def test_bytes_changed_on_the_way_are_refused(registry: Registry, tmp_path: Path) -> None:
    async def body() -> None:
        live = await registry.live()

        class Flipped:
            async def read(self, digest: str, name: str, offset: int) -> bytes:
                chunk = await registry.read(digest, name, offset)
                return chunk if name == "bundle.json" else chunk[::-1]

        with pytest.raises(IntegrityError):
            await BundleCache(tmp_path, Flipped()).get(live.digest)
        assert not (tmp_path / "sha256" / live.digest).exists()

    asyncio.run(body())


@pytest.mark.parametrize("name", ["../bundle.json", "/etc/passwd", "other.onnx", ""])
def test_only_files_of_the_bundle_can_be_read(registry: Registry, name: str) -> None:
    async def body() -> None:
        live = await registry.live()
        with pytest.raises(ModelNotFound):
            await registry.read(live.digest, name, 0)
        with pytest.raises(ModelNotFound):
            await registry.read("ab" * 32, "bundle.json", 0)

    asyncio.run(body())


@pytest.mark.usefixtures("registry")
def test_without_mlflow_the_last_known_version_serves_and_says_so(folder: Path) -> None:
    live = asyncio.run(Registry(config(folder, DEAD)).live())
    assert (live.version, live.source) == (1, "last_known")


def test_without_mlflow_and_without_a_past_it_fails_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable):
        Registry(config(tmp_path, DEAD))
