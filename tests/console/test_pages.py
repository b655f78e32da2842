"""Every page: what it shows is what the API says; no violation of axe's rules or of the policy."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from operations.local_stack.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.integration]

ROOT = Path(__file__).parents[2]
PAGES = ("try", "models", "drift", "label", "jobs", "health")
PHONE = {"width": 390, "height": 844}
# A quote, a backslash, a tag: what code and pages get wrong.
HOSTILE = 'It\'s "fine" \\ <img src=x onerror=alert(1)> — naïve 😀'
NewPage = Callable[..., Any]


def classify(page: Any, text: str) -> None:
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Classify").click()
    page.get_by_role("heading", name="What is right?").wait_for()


def test_a_text_is_classified_timed_and_judged(
    stack: Stack, api: httpx.Client, new_page: NewPage, picture: Callable[[Any, str], None]
) -> None:
    page = new_page(f"{stack.url}/console")
    classify(page, "What a wonderful day")
    answer = api.post("/predict", json={"text": "What a wonderful day"}).json()
    shown = page.get_by_label("Answer")
    assert shown.get_by_role("heading").inner_text().split() == [
        answer["label"],
        f"{answer['score']:.3f}",
    ]
    for label, score in answer["scores"].items():
        assert f"{score:.3f}" in shown.inner_text()
        meter = shown.get_by_role("meter", name=label, exact=True)
        assert float(meter.get_attribute("value")) == pytest.approx(score)
    assert "ms in the server" in page.get_by_label("Time", exact=True).inner_text()
    picture(page, "try")
    page.get_by_label("Feedback").get_by_role("button", name=answer["label"], exact=True).click()
    assert "The answer was right" in page.get_by_role("status").inner_text()


def test_a_text_that_is_refused_says_why(stack: Stack, new_page: NewPage) -> None:
    page = new_page(f"{stack.url}/console#/try")
    page.get_by_label("Text", exact=True).fill("x" * 10_001)
    page.get_by_role("button", name="Classify").click()
    assert "E1002" in page.get_by_role("alert").inner_text()


def test_the_code_that_is_shown_does_the_same(
    stack: Stack, api: httpx.Client, new_page: NewPage, tmp_path: Path
) -> None:
    page = new_page(f"{stack.url}/console#/try")
    classify(page, HOSTILE)
    want = api.post("/predict", json={"text": HOSTILE}).json()
    shown = {}
    for language in ("curl", "Python", "TypeScript"):
        page.get_by_role("button", name=language, exact=True).click()
        shown[language] = page.get_by_role("region", name=f"The call in {language}").inner_text()
    environ = {"PYTHONPATH": str(ROOT / "sdk" / "python"), "PATH": "/usr/bin:/bin"}

    def run(*command: str) -> str:
        return subprocess.run(
            command, env=environ, capture_output=True, text=True, check=True
        ).stdout

    assert json.loads(run("bash", "-c", shown["curl"]))["scores"] == want["scores"]
    printed = run(sys.executable, "-c", shown["Python"]).split()
    assert (printed[0], float(printed[1])) == (want["label"], want["score"])
    # Its own tests run the TypeScript client; here only that the text is the same.
    assert f"client.predict({json.dumps(HOSTILE, ensure_ascii=False)})" in shown["TypeScript"]


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_a_phone_in_light_and_dark(
    stack: Stack, new_page: NewPage, name: str, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415

    page = new_page(f"{stack.url}/console#/{name}", viewport=PHONE, color_scheme=scheme)
    page.get_by_role("heading", level=1).wait_for()
    if name == "try":
        classify(page, "fine")
    page.wait_for_load_state("networkidle") if name == "try" else page.wait_for_timeout(500)
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Key", exact=True).click()
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []


def test_every_page_is_reached_by_keyboard(stack: Stack, new_page: NewPage) -> None:
    page = new_page(f"{stack.url}/console")
    page.get_by_role("link", name="sentigraph", exact=True).focus()
    for name in PAGES:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.get_by_role("heading", level=1, name=name.capitalize()).wait_for()
        assert page.url.endswith(f"#/{name}")
        page.get_by_role("navigation").get_by_role("link", name=name.capitalize()).focus()


def test_what_is_degraded_comes_first_with_its_remedy(
    stack: Stack, new_page: NewPage, picture: Callable[[Any, str], None]
) -> None:
    page = new_page(f"{stack.url}/console#/health")
    page.get_by_text("Everything works.").wait_for()
    assert page.get_by_role("link", name="Server: ready").is_visible()
    body = {"status": "ready", "checks": {"model": "ok", "cache": "degraded: ConnectionError"}}
    page.route("**/health/ready", lambda route: route.fulfill(json=body))
    page.reload()
    page.get_by_text("1 of 2 parts are degraded").wait_for()
    first = page.get_by_role("listitem").first.inner_text()
    assert first.startswith("cache")
    assert "redis.url" in first
    page.get_by_role("link", name="Server: degraded").wait_for()
    picture(page, "health")
    page.route("**/health/ready", lambda route: route.abort())
    page.reload()
    page.get_by_role("alert").get_by_text("cannot be reached").wait_for()


def test_it_is_light_and_asks_this_server_alone(
    stack: Stack, new_page: NewPage, record_property: Callable[[str, object], None]
) -> None:
    page = new_page()
    asked: list[Any] = []
    page.on("response", asked.append)
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    page.goto(f"{stack.url}/console")
    page.get_by_role("button", name="Classify").wait_for()
    ready_ms = page.evaluate("performance.now()")
    files = [answer for answer in asked if "/console" in answer.url]
    sizes = [len(answer.body()) for answer in files]
    print(
        f"{len(files)} files, {sum(sizes)} bytes, usable after {ready_ms:.0f} ms with a CPU of 1/4"
    )
    record_property("console", [len(files), sum(sizes), ready_ms])
    assert {answer.url.split("/")[2] for answer in asked} == {stack.url.removeprefix("http://")}
    assert len(files) <= 16
    assert sum(sizes) <= 80_000
