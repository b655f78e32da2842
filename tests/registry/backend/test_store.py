"""The registry on real MLflow: the same behaviour on a sqlite file and over HTTP."""

import sqlite3
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from registry.backend.store import RegistryStore
from registry.bundles.bundle import manifest_digest, open_bundle
from registry.errors import (
    BackendUnavailable,
    IntegrityError,
    InvalidBundle,
    InvalidValue,
    ModelNotFound,
    RegistryError,
)
from registry.model_registry import ModelRegistry
from registry.records import ModelVersion

pytestmark = pytest.mark.slow


@pytest.fixture
def store(registry: ModelRegistry) -> RegistryStore:
    return registry.store


@pytest.fixture
def sqlite_store(sqlite_registry: ModelRegistry) -> RegistryStore:
    return sqlite_registry.store


def stored_folder(store: RegistryStore, version: ModelVersion) -> Path:
    """Where a sqlite store keeps a version's files."""
    location = store.mlflow.client().get_model_version_download_uri(
        version.name, str(version.version)
    )
    return Path(location.removeprefix("file://"))


def test_a_version_is_registered_resolved_and_fetched(registry, name, make_bundle, tmp_path):
    store = registry.store
    bundle = make_bundle(labels=("schlecht", "gut ✓"))
    (bundle.directory / "notes.txt").write_text("not in the manifest")

    made = store.register(name, bundle.directory, actor="ana", description="first", tags={"a": "b"})

    assert (made.name, made.version, made.digest, made.stage) == (name, 1, bundle.digest, "draft")
    assert made.labels == ("schlecht", "gut ✓")
    assert made.aliases == ()
    assert abs(made.created_s - time.time()) < 300

    aliased = registry.point(name, "champion", 1, actor="ana", reason="test")
    assert (aliased.digest, aliased.aliases) == (made.digest, ("champion",))
    assert (aliased.stage, aliased.tags["a"]) == ("production", "b")
    assert store.resolve(name, "champion") == aliased
    assert store.resolve(name, 1) == store.resolve(name, "1") == aliased
    assert type(store.resolve(name, "champion").version) is int

    fetched = store.fetch(aliased, tmp_path / "cache")
    assert fetched.directory == tmp_path / "cache" / "sha256" / bundle.digest
    assert replace(fetched, directory=bundle.directory) == bundle
    assert sorted(p.name for p in fetched.directory.iterdir()) == [
        "bundle.json",
        "model.onnx",
        "tokenizer.json",
    ]
    assert [p.name for p in (tmp_path / "cache" / "sha256").iterdir()] == [bundle.digest]


def test_the_same_bundle_is_registered_once(store, name, make_bundle):
    first = store.register(name, make_bundle(b"one").directory, actor="ana")
    second = store.register(name, make_bundle(b"two").directory, actor="ana")
    again = store.register(name, make_bundle(b"one").directory, actor="bo")

    assert (first.version, second.version) == (1, 2)
    assert again == first
    assert store.list_versions(name) == [first, second]


def test_versions_are_listed_with_their_aliases(registry, name, make_bundle):
    store = registry.store
    assert store.list_versions(name) == []
    for content in (b"one", b"two"):
        store.register(name, make_bundle(content).directory, actor="ana")
    for alias in ("blessed", "champion"):
        registry.point(name, alias, 2, actor="ana", reason="test")

    assert [(v.version, v.aliases) for v in store.list_versions(name)] == [
        (1, ()),
        (2, ("blessed", "champion")),
    ]


def test_metrics_are_filed_under_the_dataset(store, name, make_bundle):
    bundle = make_bundle(provenance={"dataset": "icwsm/test", "dataset_digest": "d" * 64})
    made = store.register(name, bundle.directory, actor="ana", metrics={"macro_f1": 0.75})

    client = store.mlflow.client()
    model = client.get_logged_model(made.uri.removeprefix("models:/"))
    assert [(m.key, m.value, m.dataset_name, m.dataset_digest) for m in model.metrics] == [
        ("macro_f1", 0.75, "icwsm/test", "d" * 32)
    ]
    assert model.tags["registry.model"] == name
    assert model.tags["mlflow.modelVersions"].replace(" ", "") == (
        f'[{{"name":"{name}","version":1}}]'
    )
    assert client.get_run(model.source_run_id).info.status == "FINISHED"


def test_what_is_missing_is_named(registry, name, make_bundle):
    store = registry.store
    with pytest.raises(ModelNotFound, match=f"no model '{name}' with alias 'champion'"):
        store.resolve(name, "champion")
    store.register(name, make_bundle().directory, actor="ana")
    with pytest.raises(ModelNotFound, match=f"no model '{name}' with alias 'champion'"):
        store.resolve(name, "champion")
    with pytest.raises(ModelNotFound, match=f"no version 9 of model '{name}'"):
        store.resolve(name, 9)
    with pytest.raises(ModelNotFound, match=f"no version 9 of model '{name}'"):
        registry.point(name, "champion", 9, actor="ana", reason="test")
    with pytest.raises(RegistryError, match="reserved"):
        registry.point(name, "latest", 1, actor="ana", reason="test")


def test_an_empty_registry_gets_the_bundled_model(registry, name, make_bundle):
    bundle = make_bundle()
    made = registry.ensure_bundled(name, bundle.directory, "champion")

    assert (made.version, made.stage, made.aliases) == (1, "production", ("champion",))
    assert registry.ensure_bundled(name, make_bundle(b"newer").directory, "champion") == made


def test_a_start_that_was_interrupted_before_the_alias_is_finished(registry, name, make_bundle):
    bundle = make_bundle()
    registry.store.register(name, bundle.directory, actor="bootstrap")
    assert registry.ensure_bundled(name, bundle.directory, "champion").aliases == ("champion",)


def test_versions_of_a_person_are_not_overridden_by_the_bundled_model(registry, name, make_bundle):
    registry.store.register(name, make_bundle(b"mine").directory, actor="ana")
    with pytest.raises(ModelNotFound, match="alias 'champion'"):
        registry.ensure_bundled(name, make_bundle().directory, "champion")


def test_names_and_bundles_are_checked_before_anything_is_stored(sqlite_store, make_bundle):
    bundle = make_bundle()
    with pytest.raises(InvalidValue, match="model name 'a/b' is not allowed"):
        sqlite_store.register("a/b", bundle.directory, actor="ana")
    (bundle.directory / "model.onnx").write_bytes(b"changed")
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        sqlite_store.register("never-made", bundle.directory, actor="ana")
    with pytest.raises(ModelNotFound):
        sqlite_store.resolve("never-made", 1)


def test_two_threads_register_one_version(sqlite_registry, name, make_bundle):
    bundle = make_bundle()
    found: list[ModelVersion] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(
                sqlite_registry.ensure_bundled(name, bundle.directory, "champion")
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [v.version for v in found] == [1] * 4
    assert len(sqlite_registry.store.list_versions(name)) == 1


@pytest.mark.parametrize("file_name", ["model.onnx", "bundle.json"])
def test_an_overwritten_artifact_is_refused(sqlite_store, name, make_bundle, tmp_path, file_name):
    made = sqlite_store.register(name, make_bundle().directory, actor="ana")
    (stored_folder(sqlite_store, made) / file_name).write_text('{"files": {}}')

    with pytest.raises(IntegrityError):
        sqlite_store.fetch(made, tmp_path / "cache")
    assert list((tmp_path / "cache" / "sha256").iterdir()) == []


@pytest.mark.parametrize("file_name", ["model.onnx", "bundle.json"])
def test_a_lost_artifact_is_named(sqlite_store, name, make_bundle, tmp_path, file_name):
    made = sqlite_store.register(name, make_bundle().directory, actor="ana")
    (stored_folder(sqlite_store, made) / file_name).unlink()

    with pytest.raises(IntegrityError, match=f"has lost .*{file_name}"):
        sqlite_store.fetch(made, tmp_path / "cache")


def test_a_manifest_cannot_reach_outside_the_cache(sqlite_store, name, make_bundle, tmp_path):
    made = sqlite_store.register(name, make_bundle().directory, actor="ana")
    text = '{"files": {"../../evil.json": {}}}'
    (stored_folder(sqlite_store, made) / "bundle.json").write_text(text)
    forged = replace(made, digest=manifest_digest({"files": {"../../evil.json": {}}}))
    with pytest.raises(IntegrityError, match="outside itself"):
        sqlite_store.fetch(forged, tmp_path / "cache")


def test_fetching_leaves_the_store_as_it_was(sqlite_store, name, make_bundle, tmp_path):
    made = sqlite_store.register(name, make_bundle().directory, actor="ana")
    folder = stored_folder(sqlite_store, made)
    before = {p: (p.stat().st_mtime_ns, p.stat().st_nlink) for p in folder.rglob("*")}
    sqlite_store.fetch(made, tmp_path / "cache")
    assert {p: (p.stat().st_mtime_ns, p.stat().st_nlink) for p in folder.rglob("*")} == before


def test_a_cached_bundle_needs_no_store_and_a_damaged_one_is_replaced(
    sqlite_store, name, make_bundle, tmp_path
):
    made = sqlite_store.register(name, make_bundle().directory, actor="ana")
    bundle = sqlite_store.fetch(made, tmp_path / "cache")

    offline = RegistryStore("http://127.0.0.1:9", tmp_path)
    assert offline.fetch(made, tmp_path / "cache") == bundle

    (bundle.directory / "model.onnx").write_bytes(b"bit rot")
    assert sqlite_store.fetch(made, tmp_path / "cache") == bundle
    assert open_bundle(bundle.directory) == bundle
    assert [p.name for p in bundle.directory.parent.iterdir()] == [bundle.digest]


def test_a_version_without_a_digest_is_not_fetched(sqlite_store, name, tmp_path):
    client = sqlite_store.mlflow.client()
    client.create_registered_model(name)
    client.create_model_version(name, "file:///nowhere", tags={"labels": "good, bad"})

    found = sqlite_store.resolve(name, 1)
    assert (found.digest, found.labels, found.stage) == ("", (), "draft")
    with pytest.raises(InvalidBundle, match="is no bundle"):
        sqlite_store.fetch(found, tmp_path / "cache")


def test_a_server_that_is_down_fails_at_once(tmp_path):
    store = RegistryStore("http://127.0.0.1:9", tmp_path)
    started_s = time.monotonic()
    with pytest.raises(BackendUnavailable) as caught:
        store.initialise()
    assert time.monotonic() - started_s < 5
    assert caught.value.message == (
        "the MLflow server http://127.0.0.1:9 does not answer: start it, or correct "
        "registry.tracking_uri"
    )


def test_the_database_is_in_wal_mode_and_artifact_folders_are_absolute(sqlite_store, sqlite_uri):
    sqlite_store.initialise()
    file = sqlite_uri.removeprefix("sqlite:///")
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        rows = connection.execute("SELECT artifact_location FROM experiments").fetchall()
    connection.close()
    folder = Path(file).parent / "artifacts"
    # The audit's experiment is made with the first entry, by whichever test comes first.
    found = {row[0] for row in rows} - {f"file://{folder}/registry-audit"}
    assert found == {f"file://{folder}/0", f"file://{folder}/sentigraph"}
