"""The Registry deployment resolves from MLflow, hands out bundles, and outlives MLflow."""

import asyncio
import time
from pathlib import Path

import pytest
from gauges import Gauges
from no_fleet import NoFleet, NoObservers

from configs.schema.app import AppConfig, ModelConfig
from configs.schema.registry import RegistryConfig
from deployments.bundles import CHUNK_BYTES, BundleCache
from deployments.rollout.deployment import Registry
from deployments.versions import ServedVersion
from registry.bundles.bundle import open_bundle, write_bundle
from registry.errors import BackendUnavailable, IntegrityError, ModelNotFound
from registry.lifecycle.alias_watcher import Aliases
from registry.lifecycle.state import DesiredState
from registry.model_registry import ModelRegistry
from registry.records import EngineHints

DEAD = "http://127.0.0.1:9"
REGISTERED = "sentiment_registry_version"


def labels(role: str) -> frozenset[tuple[str, str]]:
    return frozenset({("name", "sentiment"), ("role", role)})


def champion(registry: Registry) -> ServedVersion:
    """Who answers at the start."""

    async def body() -> ServedVersion:
        return (await registry.routes()).champion

    return asyncio.run(body())


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


def further(models: ModelRegistry, folder: Path, weights: bytes) -> int:
    """Registers another version."""
    (folder / weights.hex()).write_bytes(weights)
    other = write_bundle(
        folder / f"bundle-{weights.hex()}",
        name="sentiment",
        labels=("NEG", "POS"),
        files={"model.onnx": folder / weights.hex(), "tokenizer.json": folder / "tokenizer"},
        max_tokens=16,
        engine=EngineHints("onnx", "int8", ("input_ids",), 0),
    )
    return models.store.register("sentiment", other.directory, actor="ana").version


@pytest.fixture(scope="module")
def registry(folder: Path) -> Registry:
    return Registry(
        config(folder, f"sqlite:///{folder / 'mlflow.db'}"), NoFleet(), NoObservers(), Gauges().make
    )


def test_an_empty_registry_gets_the_bundled_model_as_champion(
    registry: Registry, folder: Path
) -> None:
    live = champion(registry)
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
    assert champion(Registry(chosen, NoFleet(), NoObservers(), Gauges().make)).name == "other"


def test_a_node_without_the_bundle_reads_it_through_the_graph(
    registry: Registry, tmp_path: Path
) -> None:
    async def body() -> None:
        live = (await registry.routes()).champion
        reads: list[int] = []

        class Counted:
            async def read(self, digest: str, name: str, offset: int) -> bytes:
                chunk = await registry.read(digest, name, offset)
                reads.append(len(chunk))
                return chunk

        bundle = await BundleCache(tmp_path, Counted().read).get(live.digest)
        assert bundle.digest == live.digest
        assert max(reads) == CHUNK_BYTES
        count = len(reads)
        await BundleCache(tmp_path, Counted().read).get(live.digest)
        assert len(reads) == count

    asyncio.run(body())


def test_bytes_changed_on_the_way_are_refused(registry: Registry, tmp_path: Path) -> None:
    async def body() -> None:
        live = (await registry.routes()).champion

        class Flipped:
            async def read(self, digest: str, name: str, offset: int) -> bytes:
                chunk = await registry.read(digest, name, offset)
                return chunk if name == "bundle.json" else chunk[::-1]

        with pytest.raises(IntegrityError):
            await BundleCache(tmp_path, Flipped().read).get(live.digest)
        assert not (tmp_path / "sha256" / live.digest).exists()

    asyncio.run(body())


@pytest.mark.parametrize("name", ["../bundle.json", "/etc/passwd", "other.onnx", ""])
def test_only_files_of_the_bundle_can_be_read(registry: Registry, name: str) -> None:
    async def body() -> None:
        live = (await registry.routes()).champion
        with pytest.raises(ModelNotFound):
            await registry.read(live.digest, name, 0)
        with pytest.raises(ModelNotFound):
            await registry.read("ab" * 32, "bundle.json", 0)

    asyncio.run(body())


@pytest.mark.usefixtures("registry")
def test_without_mlflow_the_last_known_version_serves_and_says_so(folder: Path) -> None:
    live = champion(Registry(config(folder, DEAD), NoFleet(), NoObservers(), Gauges().make))
    assert (live.version, live.source) == (1, "last_known")


def test_without_mlflow_and_without_a_past_it_fails_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable):
        Registry(config(tmp_path, DEAD), NoFleet(), NoObservers(), Gauges().make)


@pytest.mark.parametrize("interval_ms", [50, 400])
def test_a_moved_alias_is_followed_within_the_watch_interval(
    tmp_path: Path, folder: Path, interval_ms: int
) -> None:
    async def body() -> None:
        base = config(folder, f"sqlite:///{tmp_path / 'mlflow.db'}")
        watched = base.registry.model_copy(update={"watch_interval_ms": interval_ms})
        fleet, gauges = NoFleet(), Gauges()
        watching = base.model_copy(update={"registry": watched})
        registry = Registry(watching, fleet, NoObservers(), gauges.make)
        await registry.routes()
        await fleet.routed.wait()
        models = ModelRegistry(base.registry.tracking_uri, base.registry.artifact_root)
        (tmp_path / "weights").write_bytes(b"other weights")
        other = write_bundle(
            tmp_path / "other",
            name="sentiment",
            labels=("NEG", "POS"),
            files={"model.onnx": tmp_path / "weights", "tokenizer.json": folder / "tokenizer"},
            max_tokens=16,
            engine=EngineHints("onnx", "int8", ("input_ids",), 0),
        )
        made = models.store.register("sentiment", other.directory, actor="ana")
        models.lifecycle.transition("sentiment", made.version, "staging", actor="ana")
        models.store.mlflow.client().set_registered_model_alias("sentiment", "champion", "2")
        moved_s = asyncio.get_running_loop().time()
        while (await registry.routes()).champion.version != 2:
            await asyncio.sleep(0.01)
            assert asyncio.get_running_loop().time() - moved_s < 10
        assert fleet.loaded == [other.digest]
        assert fleet.tables[-1].champion.digest == other.digest
        assert models.ledger.events("sentiment")[-1].action == "outside_move"
        registry._exporter.copy()
        said = {role: gauges.series[REGISTERED, labels(role)] for role in ("champion", "shadow")}
        assert said == {"champion": 2, "shadow": 0}
        registry._tasks["reconcile"].cancel()

    asyncio.run(body())


def test_a_change_made_here_is_seen_before_the_interval_is_over(folder: Path) -> None:
    async def body() -> None:
        base = config(folder, f"sqlite:///{folder / 'mlflow.db'}")
        slow = base.registry.model_copy(update={"watch_interval_ms": 60_000})
        fleet = NoFleet()
        registry = Registry(
            base.model_copy(update={"registry": slow}), fleet, NoObservers(), Gauges().make
        )
        await registry.routes()
        await fleet.routed.wait()
        models = registry._reconciler._models
        made = await asyncio.to_thread(further, models, folder, b"made here")
        await asyncio.to_thread(
            models.point, "sentiment", "champion", made, actor="ana", reason="better"
        )
        moved_s = asyncio.get_running_loop().time()
        while registry._controller.routes.champion.version != made:
            await asyncio.sleep(0.01)
            assert asyncio.get_running_loop().time() - moved_s < 10
        registry._tasks["reconcile"].cancel()

    asyncio.run(body())


def test_nobody_waits_for_what_is_looked_at_now_and_then(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        base = config(folder, f"sqlite:///{folder / 'mlflow.db'}")
        registry = Registry(base, NoFleet(), NoObservers(), Gauges().make)
        before = registry._controller.routes.champion.version
        models = registry._reconciler._models
        made = further(models, folder, b"while nobody waits")
        models.point("sentiment", "champion", made, actor="ana", reason="better")
        complete = models.lifecycle.state
        live: list[int] = []

        def state(name: str) -> DesiredState:
            if name == "sentiment":
                live.append(registry._controller.routes.champion.version)
            return complete(name)

        monkeypatch.setattr(models.lifecycle, "state", state)
        await registry._reconciler.reconcile(every_model=True)
        assert registry._controller.routes.champion.version == made
        assert live == [made]
        # What the ledger does not say is judged first.
        client = models.store.mlflow.client()
        client.set_registered_model_alias("sentiment", "champion", str(before))
        await registry._reconciler.reconcile(every_model=True)
        assert live == [made, made, before]
        assert registry._controller.routes.champion.version == before

    asyncio.run(body())


def test_mlflow_that_hangs_is_told_once_it_is_given_up_and_again_when_it_is_back(
    folder: Path,
) -> None:
    """The table that ingresses have says it, so that ``/health/ready`` can."""

    class Hanging:
        hung = 0
        away = False

        def may_have_changed(self) -> bool:
            return True

        def observe(self) -> Aliases:
            if self.away:
                self.hung += 1
                time.sleep(2.1)
                raise BackendUnavailable("the MLflow server does not answer")
            return {}

    async def body() -> None:
        base = config(folder, f"sqlite:///{folder / 'mlflow.db'}")
        fleet, watcher = NoFleet(), Hanging()
        registry = Registry(base, fleet, NoObservers(), Gauges().make)
        registry._reconciler._watcher = watcher  # type: ignore[assignment]
        before = (await registry.routes()).champion

        async def told(*, away: bool) -> None:
            began_s = time.monotonic()
            while not fleet.tables or fleet.tables[-1].registry_away != away:
                await asyncio.sleep(0.01)
                assert time.monotonic() - began_s < 10

        await told(away=False)
        watcher.away = True
        await told(away=True)
        assert watcher.hung == 1
        watcher.away = False
        await told(away=False)
        assert (await registry.routes()).champion == before
        registry._tasks["reconcile"].cancel()

    asyncio.run(body())
