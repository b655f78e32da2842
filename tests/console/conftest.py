"""The console in a real Chromium, on a real server: `make test-console`.

Without Playwright or Chromium the tests are skipped with the reason.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from operations.local_stack.stack import Stack, StackSettings
from registry.model_registry import ModelRegistry

PICTURES = Path(__file__).parents[2] / "docs" / "guides" / "pictures"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SETTINGS = {
    "MLOPS_JOBS__ENABLED": "true",
    "MLOPS_DRIFT_DETECTION_ENABLED": "true",
    "MLOPS_DRIFT__REPORT_INTERVAL_S": "0.5",
    "MLOPS_DRIFT__BASELINE_TEXTS": "1000",
    "MLOPS_FEEDBACK__ENABLED": "true",
    "MLOPS_FEEDBACK__AUDIT_SHARE": "1",
    "MLOPS_FEEDBACK__TEXT": "plain",
}
# Chromium notes each answer of 400 and more; all else in its log is a fault of the page.
_ANSWER = re.compile(r"Failed to load resource: the server responded with a status of [45]\d\d")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", action="store_true", help="write the pictures of the docs anew")


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    reason = "is not installed: make test-console"
    playwright = pytest.importorskip("playwright.sync_api", reason=f"Playwright {reason}")
    pytest.importorskip("axe_playwright_python", reason=f"axe {reason}")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def stack(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A server of its own with jobs and drift; only where there is a browser."""
    settings = StackSettings(
        environ={**os.environ, **SETTINGS},
        state_dir=tmp_path_factory.mktemp("state"),
        port=0,
        mlflow_port=0,
        dashboard_port=0,
    )
    with Stack(settings, on_step=print) as running:
        yield running


@pytest.fixture(scope="package")
def registry(stack: Stack) -> ModelRegistry:
    config = stack.config.registry
    return ModelRegistry(config.tracking_uri, config.artifact_root)


@pytest.fixture(scope="package")
def api(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{stack.url}/api/v1", timeout=30) as client:
        yield client


@pytest.fixture
def new_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Makes pages whose log has to stay empty."""
    contexts, problems = [], []

    def note(message: Any) -> None:
        if message.type in ("error", "warning") and not _ANSWER.match(message.text):
            problems.append(message.text)

    def make(url: str = "about:blank", **how: Any) -> Any:
        context = browser.new_context(**how)
        contexts.append(context)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(url)
        return page

    yield make
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def picture(pytestconfig: pytest.Config) -> Callable[[Any, str], None]:
    """Writes a picture of the docs, where that is asked for."""

    def take(page: Any, name: str) -> None:
        if pytestconfig.getoption("--pictures", default=False):
            PICTURES.mkdir(exist_ok=True)
            page.screenshot(path=PICTURES / f"console-{name}.png", full_page=True)

    return take
