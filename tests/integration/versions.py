"""Further versions of the bundled model, and waiting until one is live."""

import shutil
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.bundles.bundle import open_bundle, write_bundle
from registry.model_registry import ModelRegistry

BUNDLE = Path(__file__).parents[2] / "models" / "sentiment"
# HAProxy sends such requests around.
_ASKED = 6
ANA: dict[str, Any] = {"actor": "ana", "reason": "test"}


def staged(registry: ModelRegistry, folder: Path, **changes: Any) -> int:
    """Another version in staging: the bundled model with other metadata or other files."""
    bundle = open_bundle(BUNDLE)
    files = {name: BUNDLE / name for name in bundle.files} | changes.pop("files", {})
    made = write_bundle(
        folder / "bundle",
        name="sentiment",
        labels=changes.get("labels", bundle.labels),
        files=files,
        max_tokens=bundle.max_tokens,
        temperature=changes.get("temperature", bundle.temperature),
        engine=bundle.engine,
    )
    version = registry.store.register("sentiment", made.directory, actor="ana").version
    registry.lifecycle.transition("sentiment", version, "staging", **ANA)
    shutil.rmtree(folder / "bundle")
    return version


def wait_for(client: httpx.Client, version: int, role: str = "champion") -> float:
    """Seconds until a version is live, at each ingress."""
    started_s = time.monotonic()
    in_a_row = 0
    while time.monotonic() - started_s < 30:
        live = client.get("/models/live").json()[role]
        in_a_row = in_a_row + 1 if live is not None and live["version"] == version else 0
        if in_a_row == _ASKED:
            return time.monotonic() - started_s
        time.sleep(0.02)
    pytest.fail(f"version {version} is not {role} after 30 s: {live}")
