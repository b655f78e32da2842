"""What a graph starts with: the champion if it has served, else what is known to be good."""

from dataclasses import replace
from pathlib import Path

import pytest

from configs.schema.app import AppConfig
from configs.schema.registry import RegistryConfig
from deployments.rollout.bundle_server import BundleServer
from deployments.rollout.initial_version import InitialVersion
from deployments.versions import ServedVersion
from registry.backend.store import RegistryStore
from registry.bundles.bundle import write_bundle
from registry.errors import BackendUnavailable, IntegrityError
from registry.model_registry import ModelRegistry
from registry.records import EngineHints

pytestmark = pytest.mark.slow
NAME = "sentiment"
DEAD = "http://127.0.0.1:9"


class DamagedBundles(BundleServer):
    """The files of the versions in ``damaged`` have another digest."""

    def __init__(self, store: RegistryStore, name: str, directory: Path) -> None:
        super().__init__(store, name, directory)
        self.damaged: set[int] = set()

    def open(self, version: int) -> ServedVersion:
        if version in self.damaged:
            raise IntegrityError("another sha256")
        return super().open(version)


class Node:
    """A node's disk."""

    def __init__(self, folder: Path, uri: str = "") -> None:
        self.folder = folder
        self.config = AppConfig(
            registry=RegistryConfig(
                tracking_uri=uri or f"sqlite:///{folder.parent / 'mlflow.db'}",
                artifact_root=str(folder.parent / "artifacts"),
                bundle_cache_dir=str(folder / "bundles"),
                bundled_model_dir=str(folder.parent / "bundle-1"),
            )
        )
        registry = self.config.registry
        self.models = ModelRegistry(registry.tracking_uri, registry.artifact_root)
        bundles = DamagedBundles(self.models.store, NAME, folder / "bundles")
        self.damaged, self.open = bundles.damaged, bundles.open
        self.startup = InitialVersion(self.config, self.models, bundles)

    def first(self) -> tuple[int, str]:
        live = self.startup.first()
        return live.version, live.source


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Versions 1 and 2; 1 is champion."""
    for number in (1, 2):
        for file in ("model.onnx", "tokenizer.json"):
            (tmp_path / file).write_text(f'"{number}"')
        write_bundle(
            tmp_path / f"bundle-{number}",
            name=NAME,
            labels=("NEG", "POS"),
            files={n: tmp_path / n for n in ("model.onnx", "tokenizer.json")},
            max_tokens=16,
            engine=EngineHints("onnx", "int8", ("input_ids",), 0),
        )
    made = Node(tmp_path / "node")
    for number in (1, 2):
        made.models.store.register(NAME, tmp_path / f"bundle-{number}", actor="ana")
    made.models.point(NAME, "champion", 1, actor="ana", reason="first")
    return made


def test_the_only_champion_there_ever_was_starts(node: Node) -> None:
    assert node.first() == (1, "registry")
    assert node.first() == (1, "registry")


def test_a_champion_that_never_served_waits_for_its_probe(node: Node, tmp_path: Path) -> None:
    node.first()
    node.models.point(NAME, "champion", 2, actor="ana", reason="while it was down")
    assert node.first() == (1, "last_known")
    # A node that remembers nothing takes the champion before.
    fresh = Node(tmp_path / "fresh")
    assert fresh.first() == (1, "last_known")
    # Probed and served elsewhere, it starts everywhere.
    node.startup.note(node.open(2))
    assert node.models.store.resolve(NAME, 2).tags["rollout.served"] == node.open(2).digest
    assert node.first() == (2, "registry")
    assert Node(tmp_path / "other").first() == (2, "registry")


def test_a_damaged_champion_is_not_served_if_anything_else_can_be(
    node: Node, tmp_path: Path
) -> None:
    node.damaged.add(1)
    with pytest.raises(IntegrityError):
        node.first()
    node.damaged.clear()
    node.first()
    node.models.point(NAME, "champion", 2, actor="ana", reason="better")
    node.startup.note(node.open(2))
    fresh = Node(tmp_path / "fresh")
    fresh.damaged.add(2)
    assert fresh.first() == (1, "last_known")
    fresh.damaged.add(1)
    with pytest.raises(IntegrityError):
        fresh.first()


def test_the_same_number_with_other_files_has_not_served(node: Node) -> None:
    node.first()
    node.startup.note(replace(node.open(2), digest="ab" * 32))
    node.models.point(NAME, "champion", 2, actor="ana", reason="better")
    assert not node.models.has_served(node.models.store.resolve(NAME, 2))


def test_without_mlflow_the_last_known_starts(node: Node, tmp_path: Path) -> None:
    node.first()
    cut_off = Node(node.folder, DEAD)
    assert cut_off.first() == (1, "last_known")
    with pytest.raises(BackendUnavailable):
        Node(tmp_path / "fresh", DEAD).first()
