"""A process checks a bundle's digests once, and again whenever a file was touched."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from deployments import bundles as fetch
from deployments.bundles import BundleCache
from registry.bundles.bundle import open_bundle
from registry.bundles.node_cache import Download
from registry.records import Bundle


class Node:
    """A cache folder whose bundle comes from a directory, and a count of checks and reads."""

    def __init__(self, folder: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bundle = bundle
        self.checks = 0
        self.reads = 0
        self.cache = BundleCache(folder, self.read)
        self.entry = folder / "sha256" / bundle.digest
        really = fetch.fetch_bundle

        def counted(digest: str, directory: Path, download: Download) -> Bundle:
            self.checks += 1
            return really(digest, directory, download)

        monkeypatch.setattr(fetch, "fetch_bundle", counted)

    async def read(self, digest: str, name: str, offset: int) -> bytes:
        self.reads += 1
        with (self.bundle.directory / name).open("rb") as stream:
            stream.seek(offset)
            return stream.read(fetch.CHUNK_BYTES)

    def get(self) -> Bundle:
        return asyncio.run(self.cache.get(self.bundle.digest))


@pytest.fixture
def node(tmp_path: Path, bundled: Bundle, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path / "cache", bundled, monkeypatch)


def test_what_was_checked_and_not_touched_is_taken_again(node: Node) -> None:
    first = node.get()
    assert first.digest == node.bundle.digest
    assert node.get() is first
    assert node.checks == 1


def test_a_changed_file_of_the_same_size_and_time_is_found_and_fetched_again(node: Node) -> None:
    node.get()
    path = node.entry / "tokenizer.json"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    node.reads = 0
    assert node.get().digest == node.bundle.digest
    assert node.checks == 2
    assert node.reads > 0
    assert open_bundle(node.entry).digest == node.bundle.digest


def test_a_lost_bundle_is_fetched_again(node: Node) -> None:
    node.get()
    shutil.rmtree(node.entry)
    assert node.get().digest == node.bundle.digest
    assert (node.checks, node.entry.exists()) == (2, True)


def test_only_so_many_are_remembered(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_REMEMBERED", 2)
    node.get()
    checked = node.cache._checked
    checked["a"] = checked["b"] = checked.pop(node.bundle.digest)
    node.get()
    assert list(checked) == ["b", node.bundle.digest]
