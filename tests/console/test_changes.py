"""Every step that changes something: asked for twice, with a reason, and seen in the ledger."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from versions import staged, wait_for

from operations.local_stack.stack import Stack
from registry.model_registry import ModelRegistry

pytestmark = [pytest.mark.slow, pytest.mark.integration]

NewPage = Callable[..., Any]
Picture = Callable[[Any, str], None]


@pytest.fixture(scope="module")
def candidate(stack: Stack, registry: ModelRegistry, tmp_path_factory: Any) -> int:
    """Another version in staging."""
    return staged(registry, tmp_path_factory.mktemp("bundle"), temperature=1.5)


def confirm(page: Any, title: str, reason: str | None, word: object = None) -> None:
    """Fills the dialog; its button is shut until everything is typed."""
    dialog = page.get_by_role("dialog")
    button = dialog.get_by_role("button", name=title, exact=True)
    if reason is not None:
        assert button.is_disabled()
        dialog.get_by_label("Reason").fill(reason)
    if word is not None:
        dialog.get_by_label("to confirm").fill("something else")
        assert button.is_disabled()
        dialog.get_by_label("to confirm").fill(str(word))
    button.click()
    dialog.wait_for(state="detached")


def last(api: httpx.Client) -> dict[str, Any]:
    entry: dict[str, Any] = api.get("/models/sentiment/audit?limit=1").json()["entries"][0]
    return entry


def is_done(page: Any, api: httpx.Client, action: str, reason: str) -> None:
    """The page shows the ledger's entry, and it is the ledger's last."""
    page.get_by_role("status").get_by_text(action, exact=True).wait_for()
    assert reason in page.get_by_role("status").inner_text()
    entry = last(api)
    assert (entry["action"], entry["reason"], entry["actor"]) == (action, reason, "bo")


def open_models(stack: Stack, new_page: NewPage) -> Any:
    page = new_page(f"{stack.url}/console#/models")
    page.get_by_role("button", name="Key", exact=True).click()
    page.get_by_label("Your name").fill("bo")
    page.get_by_role("button", name="Use").click()
    return page


def card(page: Any, version: int) -> Any:
    versions = page.get_by_label("Versions").get_by_role("listitem")
    return versions.filter(has=page.get_by_text(f"Version {version}", exact=True))


def test_a_release_is_followed_held_resumed_and_aborted(
    stack: Stack, api: httpx.Client, new_page: NewPage, picture: Picture, candidate: int
) -> None:
    page = open_models(stack, new_page)
    card(page, candidate).get_by_role("button", name="Details").click()
    card(page, candidate).get_by_text("The gate would").wait_for()
    card(page, candidate).get_by_role("button", name="Release", exact=True).click()
    confirm(page, "Release", "better calibrated", candidate)
    is_done(page, api, "release_start", "better calibrated")
    release = page.get_by_label("Release", exact=True)
    release.get_by_role("row", name="agreement").wait_for()
    wait_for(api, candidate, "shadow")
    seen: set[str] = set()
    deadline_s = time.monotonic() + 60
    number = 0
    while len(seen) < 4:
        assert time.monotonic() < deadline_s, seen
        texts = [f"a rather fine day, number {number + i}" for i in range(50)]
        number += len(texts)
        assert api.post("/predict/batch", json={"texts": texts}).status_code == 200
        time.sleep(0.5)
        row = release.get_by_role("row", name="agreement")
        seen.add(row.get_by_role("cell").nth(3).inner_text())
    assert sorted(map(int, seen))[-1] > 0
    label = release.get_by_role("img", name="Evidence of agreement").get_attribute("aria-label")
    assert float(label.split()[-1]) > 0
    picture(page, "release")
    release.get_by_role("button", name="Hold").click()
    confirm(page, "Hold", "over the weekend")
    is_done(page, api, "release_hold", "over the weekend")
    release.get_by_role("button", name="Resume").click()
    confirm(page, "Resume", "it is Monday")
    is_done(page, api, "release_resume", "it is Monday")
    release.get_by_role("button", name="Abort").click()
    confirm(page, "Abort", "not needed", candidate)
    is_done(page, api, "release_abort", "not needed")
    page.get_by_text("No release is under way.").wait_for()


def test_a_version_is_shadow_promoted_and_rolled_back(
    stack: Stack, api: httpx.Client, new_page: NewPage, picture: Picture, candidate: int
) -> None:
    page = open_models(stack, new_page)
    card(page, candidate).get_by_role("button", name="Shadow").click()
    confirm(page, "Shadow", "to compare", candidate)
    wait_for(api, candidate, "shadow")
    page.get_by_label("Shadow", exact=True).get_by_text(f"Version {candidate}").wait_for()
    picture(page, "models")
    page.get_by_role("button", name="Clear shadow").click()
    confirm(page, "Clear shadow", None)
    page.get_by_label("Shadow", exact=True).get_by_text("None").wait_for()
    card(page, candidate).get_by_role("button", name="Promote now").click()
    confirm(page, "Promote now", "the old one is wrong", candidate)
    is_done(page, api, "promote", "the old one is wrong")
    wait_for(api, candidate)
    page.get_by_label("Champion").get_by_text(f"Version {candidate}").wait_for()
    page.get_by_role("button", name="Roll back").click()
    confirm(page, "Roll back", "it is worse", candidate)
    is_done(page, api, "rollback", "it is worse")
    wait_for(api, 1)
    page.get_by_label("Champion").get_by_text("Version 1", exact=True).wait_for()


def test_a_draft_is_moved_to_staging(
    stack: Stack, api: httpx.Client, new_page: NewPage, candidate: int
) -> None:
    made = api.post(
        "/models/sentiment/versions",
        json={"version": "2.0.0-console", "metadata": {"author": "ana", "framework": "onnx"}},
    )
    number = made.json()["number"]
    page = open_models(stack, new_page)
    card(page, number).get_by_role("button", name="Move to staging").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("ready")
    dialog.get_by_label("to confirm").fill(str(number))
    dialog.get_by_role("button", name="Move to staging").click()
    # It has no files: the registry refuses, the dialog says why and stays.
    dialog.get_by_role("alert").wait_for()
    dialog.get_by_role("button", name="Leave it").click()
    assert api.get(f"/models/sentiment/versions/{number}").json()["status"] == "draft"
    assert api.delete(f"/models/sentiment/versions/{number}").status_code == 204


def test_drift_is_learned_acknowledged_and_accepted(
    stack: Stack, api: httpx.Client, new_page: NewPage, picture: Picture
) -> None:
    page = new_page(f"{stack.url}/console#/drift")
    page.get_by_role("heading", name="sentiment version 1").wait_for()
    digest = api.get("/models/live").json()["champion"]["digest"]
    deadline_s = time.monotonic() + 60
    number = 0
    while not api.get("/monitoring/drift").json()["baseline_established"]:
        assert time.monotonic() < deadline_s
        texts = [f"an ordinary sentence about day {number + i}" for i in range(500)]
        number += len(texts)
        api.post("/predict/batch", json={"texts": texts}).raise_for_status()
        time.sleep(1)
    page.get_by_text("Compared with").wait_for()
    texts = [f"WHAT??? {i}!!" * 20 for i in range(600)]
    api.post("/predict/batch", json={"texts": texts}).raise_for_status()
    page.get_by_role("row").filter(has_text="drifted").first.wait_for(timeout=60_000)
    picture(page, "drift")
    version = api.get("/monitoring/drift").json()["model_version"]
    page.get_by_role("button", name="Acknowledge").click()
    confirm(page, "Acknowledge", "a test", version)
    page.get_by_role("row").filter(has_text="a test").first.wait_for()
    events = api.get(f"/monitoring/drift/events?model_digest={digest}").json()["events"]
    assert ("reset", "a test") in {(event["kind"], event["reason"]) for event in events}
    page.get_by_role("button", name="Learn anew").click()
    confirm(page, "Learn anew", "another season", version)
    page.get_by_text("Learning what is usual").wait_for()


def test_answers_are_judged_by_keyboard_alone(
    stack: Stack, api: httpx.Client, new_page: NewPage, picture: Picture
) -> None:
    for i in range(3):
        api.post("/predict", json={"text": f"a day to judge, {i}"}).raise_for_status()
    judged = api.get("/monitoring/accuracy").json()["accuracy"]["n"]
    page = new_page(f"{stack.url}/console#/label")
    page.get_by_label("Answer to judge").wait_for()
    text = page.locator(".text")
    first = text.inner_text()
    picture(page, "label")
    page.keyboard.press("1")
    page.get_by_role("status").get_by_text("the model had said").wait_for()
    page.get_by_label("Answer to judge").wait_for()
    assert text.inner_text() != first
    page.keyboard.press("u")
    assert text.inner_text() == first
    page.keyboard.press("2")
    page.get_by_role("status").get_by_text("POSITIVE; the model").wait_for()
    page.keyboard.press("s")
    page.get_by_role("status").get_by_text("Skipped").wait_for()
    assert api.get("/monitoring/accuracy").json()["accuracy"]["n"] == judged + 1
    page.get_by_role("link", name="Drift").click()
    page.get_by_label("Live accuracy").get_by_text("judged of").wait_for()


def test_a_job_is_dropped_followed_and_downloaded(
    stack: Stack, new_page: NewPage, picture: Picture, tmp_path: Path
) -> None:
    page = new_page(f"{stack.url}/console#/jobs")
    page.get_by_label("Texts, one a line").fill("a fine day\nan awful mess\n\n")
    page.get_by_role("button", name="Start").click()
    page.get_by_text("2 of 2 texts").wait_for()
    # A file as it is dropped from the desktop.
    content = "text,id\\n" + "".join(f"a {word} day,{i}\\n" for i, word in enumerate(["fine"] * 40))
    transfer = page.evaluate_handle(
        f"""() => {{
            const transfer = new DataTransfer();
            transfer.items.add(new File(["{content}"], "days.csv", {{ type: "text/csv" }}));
            return transfer;
        }}"""
    )
    page.locator("form").dispatch_event("drop", {"dataTransfer": transfer})
    job = page.get_by_role("listitem").first
    job.get_by_text("40 of 40 texts").wait_for()
    picture(page, "jobs")
    for kind in ("csv", "jsonl", "parquet"):
        with page.expect_download() as downloading:
            job.get_by_role("button", name=f"Download {kind}").click()
        path = tmp_path / downloading.value.suggested_filename
        downloading.value.save_as(path)
        assert path.suffix == f".{kind}"
        assert path.stat().st_size > 500
    lines = (tmp_path / next(p.name for p in tmp_path.glob("*.csv"))).read_text().splitlines()
    assert len(lines) == 41
    page.reload()
    page.get_by_text("40 of 40 texts").wait_for()


def test_a_job_is_cancelled(stack: Stack, api: httpx.Client, new_page: NewPage) -> None:
    page = new_page(f"{stack.url}/console#/jobs")
    page.get_by_label("Priority").select_option("low")
    lines = "text\n" + "".join(f"number {i} of many different texts\n" for i in range(20_000))
    file = {"name": "many.csv", "mimeType": "text/csv", "buffer": lines.encode()}
    page.get_by_label("File", exact=True).set_input_files(file)
    job = page.get_by_role("listitem").first
    job.get_by_role("button", name="Cancel").click()
    id = job.locator("code").inner_text()
    confirm(page, "Cancel the job", None, id[:8])
    job.get_by_text("cancelled", exact=True).wait_for()
    assert api.get(f"/batch/status/{id}").json()["status"] == "cancelled"
