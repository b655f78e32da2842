"""A node-local bundle cache that never needs to ask, and the bundled model."""

from pathlib import Path

import pytest

from registry.bundles.bundle import open_bundle
from registry.records import Bundle

ROOT = Path(__file__).parents[2]


class OneBundle:
    """Stands for ``BundleCache`` where the bundle is at hand."""

    def __init__(self, bundle: Bundle, directory: Path) -> None:
        self._bundle = bundle
        self.directory = directory

    async def get(self, digest: str) -> Bundle:
        assert digest == self._bundle.digest
        return self._bundle


@pytest.fixture(scope="session")
def bundled() -> Bundle:
    return open_bundle(ROOT / "models" / "sentiment")


@pytest.fixture
def one_bundle(bundled: Bundle, tmp_path: Path) -> OneBundle:
    return OneBundle(bundled, tmp_path)
