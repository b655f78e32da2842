"""Deleting and restoring on real MLflow, on a sqlite file and over HTTP."""

import time
from typing import Any

import pytest

from registry.errors import AlreadyExists, Conflict, ModelNotFound
from registry.model_registry import ModelRegistry
from registry.policy import Policy

pytestmark = pytest.mark.slow
on_sqlite = pytest.mark.parametrize("registry", ["sqlite"], indirect=True)
ANA: dict[str, Any] = {"actor": "ana", "reason": "because"}


def _make(registry: ModelRegistry, name: str, make_bundle: Any, content: bytes) -> int:
    made = registry.store.register(name, make_bundle(content).directory, actor="ana")
    return made.version


def test_a_deleted_version_comes_back_as_it_was(
    registry: ModelRegistry, name: str, make_bundle: Any, tmp_path: Any
) -> None:
    first, second = (_make(registry, name, make_bundle, content) for content in (b"1", b"2"))
    for stage in ("staging", "archived"):
        registry.lifecycle.transition(name, second, stage, **ANA)
    before = registry.store.resolve(name, second)
    registry.deletions.delete_version(before, **ANA)

    assert [v.version for v in registry.store.list_versions(name)] == [first]
    for reference in (second, str(second)):
        with pytest.raises(ModelNotFound, match="deleted"):
            registry.store.resolve(name, reference)
    with pytest.raises(ModelNotFound):
        registry.lifecycle.transition(name, second, "staging", **ANA)

    back = registry.deletions.restore_version(name, second, **ANA)
    assert (back.digest, back.stage) == (before.digest, "archived")
    assert registry.store.fetch(back, tmp_path / "cache").digest == before.digest
    registry.lifecycle.transition(name, second, "staging", **ANA)
    with pytest.raises(Conflict, match="is not deleted"):
        registry.deletions.restore_version(name, second, **ANA)
    actions = [(e.action, e.reason) for e in registry.ledger.events(name)]
    assert ("delete_version", "because") in actions
    assert ("restore_version", "because") in actions


@on_sqlite
def test_the_same_files_registered_meanwhile_keep_their_new_number(
    registry: ModelRegistry, name: str, make_bundle: Any
) -> None:
    first = _make(registry, name, make_bundle, b"1")
    registry.deletions.delete_version(registry.store.resolve(name, first), **ANA)
    second = _make(registry, name, make_bundle, b"1")
    assert second == first + 1
    with pytest.raises(AlreadyExists, match=f"version {second}"):
        registry.deletions.restore_version(name, first, **ANA)


def test_a_deleted_model_comes_back_with_versions_stages_and_policy(
    registry: ModelRegistry, name: str, make_bundle: Any
) -> None:
    versions = [_make(registry, name, make_bundle, content) for content in (b"1", b"2")]
    registry.catalog.update_model(name, actor="ana", policy=Policy(approvals=1))
    registry.lifecycle.transition(name, versions[1], "staging", **ANA)
    with pytest.raises(Conflict, match=r"staging \(2\)"):
        registry.deletions.delete_model(name, **ANA)
    registry.lifecycle.transition(name, versions[1], "archived", **ANA)
    registry.deletions.delete_model(name, **ANA)

    assert name not in [model.name for model in registry.catalog.models()]
    assert registry.store.list_versions(name) == []
    for reading in (registry.catalog.model, registry.lifecycle.state):
        with pytest.raises(ModelNotFound):
            reading(name)

    registry.deletions.restore_model(name, **ANA)
    assert registry.catalog.model(name).policy.approvals == 1
    stages = {v.version: v.stage for v in registry.store.list_versions(name)}
    assert stages == {versions[0]: "draft", versions[1]: "archived"}
    registry.lifecycle.transition(name, versions[1], "staging", **ANA)
    with pytest.raises(ModelNotFound, match="no deleted model"):
        registry.deletions.restore_model(name, **ANA)


@on_sqlite
def test_a_name_that_is_taken_again_is_not_overwritten(
    registry: ModelRegistry, name: str, make_bundle: Any
) -> None:
    _make(registry, name, make_bundle, b"1")
    registry.deletions.delete_model(name, **ANA)
    assert _make(registry, name, make_bundle, b"2") == 1
    with pytest.raises(AlreadyExists):
        registry.deletions.restore_model(name, **ANA)


@on_sqlite
def test_purged_versions_and_models_are_gone_for_good(
    registry: ModelRegistry, name: str, make_bundle: Any
) -> None:
    first = _make(registry, name, make_bundle, b"1")
    registry.deletions.delete_version(registry.store.resolve(name, first), **ANA)
    registry.deletions.purge(time.time() - 60)
    registry.deletions.restore_version(name, first, **ANA)
    registry.deletions.delete_version(registry.store.resolve(name, first), **ANA)
    registry.deletions.purge(time.time() + 1)
    with pytest.raises(ModelNotFound):
        registry.deletions.restore_version(name, first, **ANA)
    registry.deletions.delete_model(name, **ANA)
    registry.deletions.purge(time.time() + 1)
    with pytest.raises(ModelNotFound):
        registry.deletions.restore_model(name, **ANA)


@on_sqlite
def test_an_alias_moved_onto_a_deleted_version_goes_back(
    registry: ModelRegistry, name: str, make_bundle: Any
) -> None:
    first, second = (_make(registry, name, make_bundle, content) for content in (b"1", b"2"))
    registry.point(name, "champion", first, **ANA)
    registry.deletions.delete_version(registry.store.resolve(name, second), **ANA)
    client = registry.store.mlflow.client()
    client.set_registered_model_alias(name, "champion", str(second))
    assert registry.lifecycle.state(name).champion == first
    assert registry.store.resolve(name, "champion").version == first
