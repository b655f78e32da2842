"""What a key may not do is refused by the server and said by the page."""

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from front import Stages, make_front

from configs.schema.app import AppConfig

pytestmark = pytest.mark.slow

KEYS = {"predict-only-1": ["predict"], "reader-1-reads": ["predict", "registry-read"]}


@pytest.fixture(scope="module")
def url(browser: Any) -> Iterator[str]:
    """The real ingress, with keys, in this process."""
    keys = [
        {"id": key, "sha256": hashlib.sha256(key.encode()).hexdigest(), "roles": roles}
        for key, roles in KEYS.items()
    ]
    access = {"required": True, "api_keys": json.dumps(keys)}
    config = AppConfig.model_validate({"cache": {"l2": "none"}, "access": access})
    found: list[str] = []
    up = threading.Event()
    ending: list[Any] = []

    async def serve() -> None:
        async with make_front(config, Stages()) as app:
            server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_level="error"))
            ending.append(server)
            task = asyncio.create_task(server.serve())
            while not server.started:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            found.append(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
            up.set()
            await task

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert up.wait(20)
    yield found[0]
    ending[0].should_exit = True
    thread.join(20)


def give(page: Any, key: str, keep: bool = False) -> None:
    page.get_by_role("banner").get_by_role("button").click()
    page.get_by_label("API key").fill(key)
    if keep:
        page.get_by_label("Keep the key").check()
    page.get_by_role("button", name="Use").click()


def test_a_page_without_a_key_asks_for_one(url: str, new_page: Callable[..., Any]) -> None:
    page = new_page(f"{url}/console#/models")
    page.get_by_role("alert").get_by_text("Give a key").wait_for()
    give(page, "wrong-key-0")
    page.get_by_role("alert").get_by_text("Give a key").wait_for()
    assert page.get_by_role("button", name="Promote now").count() == 0


def test_a_key_that_predicts_sees_no_model(url: str, new_page: Callable[..., Any]) -> None:
    page = new_page(f"{url}/console#/try")
    give(page, "predict-only-1")
    page.get_by_role("button", name="Classify").click()
    page.get_by_role("heading", name="What is right?").wait_for()
    page.get_by_role("link", name="Models").click()
    page.get_by_role("alert").get_by_text("registry-read").wait_for()
    page.get_by_role("link", name="Drift").click()
    page.get_by_role("alert").get_by_text("registry-read").first.wait_for()


def test_the_key_is_kept_only_where_that_is_asked_for(
    url: str, new_page: Callable[..., Any]
) -> None:
    page = new_page(f"{url}/console#/models")
    give(page, "reader-1-reads")
    page.get_by_label("Champion").wait_for()
    page.reload()
    page.get_by_role("alert").get_by_text("Give a key").wait_for()
    give(page, "reader-1-reads", keep=True)
    page.reload()
    page.get_by_label("Champion").wait_for()
    assert page.evaluate("localStorage.length") == 0
    assert "reader-1-reads" not in page.content()
