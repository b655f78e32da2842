"""Pictures of the MLflow UI for ``docs/guides/models.md``, from a real browser.

``python -m tests.system.mlflow_screenshots`` fills a registry of its own through a model's
whole life (evaluations, gate, approval, a release that went through and one that was rolled back),
starts MLflow's server on it, and takes its pages with Chromium. Needs ``apt-get install chromium
fonts-dejavu-core`` and ``pip install playwright``; no other download, nothing outside loopback.
"""

import importlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness.machine import ROOT
from benchmarks.harness.mlflow_server import MlflowServer
from benchmarks.harness.models import BUNDLED, NAME, register_variant
from benchmarks.harness.output import say
from registry.bundles.bundle import open_bundle
from registry.model_registry import ModelRegistry
from registry.policy import MetricRule, Policy
from registry.releases.decision import ReleaseProgress, decide
from registry.releases.sequential_test import PairedCount

IMAGES = ROOT / "docs" / "guides" / "images"
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_SIZE = {"width": 1400, "height": 1000}
_PATIENCE_MS = 60_000
# The UI asks its server again and again, so it never comes to rest.
_SETTLE_MS = 6_000


def fill(registry: ModelRegistry, folder: Path) -> None:
    """Version 1 served first, 2 was released, 3 was rolled back."""
    registry.store.register(NAME, BUNDLED, actor="ana", description="Trained on four domains.")
    registry.point(NAME, "champion", 1, actor="ana", reason="first model")
    rule = MetricRule(metric="accuracy", threshold=0.85, max_regression=0.005)
    registry.catalog.update_model(NAME, actor="ana", policy=Policy(rules=(rule,)))
    evaluated(registry, 1, 0.874)
    evaluated(registry, register_variant(registry, folder, temperature=1.05), 0.881)
    release(registry, 2)
    flipped = tuple(reversed(open_bundle(BUNDLED).labels))
    evaluated(registry, register_variant(registry, folder, labels=flipped), 0.879)
    release(registry, 3)


def evaluated(registry: ModelRegistry, version: int, accuracy: float) -> None:
    """Figures that the gate asks for."""
    registry.evaluations.add(
        registry.store.resolve(NAME, version),
        name="nightly",
        dataset="reviews-2026-11",
        dataset_digest="5f0c" * 8,
        metrics={"accuracy": accuracy, "macro_f1": accuracy - 0.004},
        metadata={"texts": 12_000},
        actor="ci",
    )


def release(registry: ModelRegistry, version: int) -> None:
    """Takes a version through the steps with what such a version shows."""
    releases = registry.releases
    releases.start(NAME, version, actor="ana", reason="better on reviews")
    good = version == 2
    while (under_way := releases.status(NAME)[0]) is not None:
        agreement = PairedCount(38, 962) if good else PairedCount(8, 0)
        texts = 1_000 if good else 8
        tests = {test: PairedCount(0, texts) for test in ("errors", "latency", "drift")}
        seen = ReleaseProgress(under_way.id, under_way.step, {**tests, "agreement": agreement})
        verdict = decide(seen, releases.status(NAME)[2], under_way.steps, 3_600)
        if good:
            assert verdict.action == "go_on", verdict
            releases.advance(NAME, under_way, verdict)
        else:
            assert verdict.action == "roll_back", verdict
            releases.roll_back(NAME, under_way, verdict.reason, verdict)


def pages(registry: ModelRegistry) -> dict[str, str]:
    """Picture to the UI's address."""
    client = registry.store.mlflow.client()
    source = client.get_model_version(NAME, "2").source
    logged = client.get_logged_model(source.removeprefix("models:/"))
    return {
        "mlflow-model": f"#/models/{NAME}",
        "mlflow-version": f"#/models/{NAME}/versions/2",
        "mlflow-rolled-back": f"#/models/{NAME}/versions/3",
        "mlflow-metrics": f"#/experiments/{logged.experiment_id}/models/{logged.model_id}",
    }


def take(url: str, wanted: dict[str, str]) -> None:
    """Opens each address and keeps what is seen."""
    playwright: Any = importlib.import_module("playwright.sync_api")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), headless=True, args=list(_FLAGS)
        )
        page = browser.new_page(viewport=_SIZE)
        page.set_default_timeout(_PATIENCE_MS)
        for name, address in wanted.items():
            page.goto(f"{url}/{address}", wait_until="domcontentloaded")
            page.get_by_text(NAME).first.wait_for()
            page.wait_for_timeout(_SETTLE_MS)
            # What greets a first visit covers the page.
            for label in ("Try it now", "Got it", "Dismiss", "Close"):
                button = page.get_by_role("button", name=label)
                if button.count():
                    button.first.click()
                    page.wait_for_timeout(500)
            path = IMAGES / f"{name}.png"
            page.screenshot(path=path, full_page=False)
            say(path.relative_to(ROOT))
        browser.close()


def main() -> int:
    """Makes all pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sentigraph-pictures-") as scratch:
        folder = Path(scratch)
        with MlflowServer(folder) as server:
            registry = ModelRegistry(server.url, folder / "unused")
            fill(registry, folder)
            take(server.url, pages(registry))
    return 0


if __name__ == "__main__":
    sys.exit(main())
