"""The console's files come from this server alone, and its policy allows no others."""

import re
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from front import with_front

from configs.schema.app import AppConfig
from console import ASSETS
from deployments.ingress.console_page import HEADERS

CONFIG = AppConfig.model_validate({"cache": {"l2": "none"}})
OWN = [path for path in ASSETS.rglob("*") if path.is_file() and path.parent.name != "vendor"]


def test_the_page_and_all_that_it_loads_come_from_here() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        page = await client.get("/console")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        wanted = re.findall(r'(?:src|href)="(console/[^"]+)"', page.text)
        assert "console/app.js" in wanted
        seen: set[str] = set()
        while wanted:
            name = wanted.pop()
            if name in seen:
                continue
            seen.add(name)
            found = await client.get(f"/{name}")
            assert found.status_code == 200, name
            assert found.headers["x-content-type-options"] == "nosniff"
            for header, value in HEADERS.items():
                assert found.headers[header].split(", ")[0] == value.split(", ")[0]
            for other in re.findall(r'from "(\.[^"]+)"', found.text):
                path = (Path("/") / Path(name).parent / other).resolve()
                wanted.append(path.relative_to("/").as_posix())
        files = {f"console/{path.relative_to(ASSETS)}" for path in ASSETS.rglob("*.[cj]s*")}
        assert seen == files, "a file that no page loads, or the other way"
        info = (await client.get("/")).json()
        assert info["console_url"] == "/console"

    with_front(CONFIG, body)


@pytest.mark.parametrize("name", ["LICENSE-htm", "vendor/preact-htm.lock", "..%2f__init__.py", "x"])
def test_other_files_are_not_served(name: str) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        answer = await client.get(f"/console/{name}")
        assert (answer.status_code, answer.json()["error_code"]) == (404, "E1001")

    with_front(CONFIG, body)


def test_its_own_files_name_no_host_and_write_no_markup() -> None:
    for path in OWN:
        text = re.sub(r"(?m)^\s*//.*$", "", path.read_text(encoding="utf-8"))
        assert not re.search(r"https?://|\beval\b|innerHTML|document\.write", text), path
        if path.suffix == ".html":
            assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text)


def test_the_vendored_files_are_those_of_the_lock() -> None:
    lock = (ASSETS / "vendor" / "preact-htm.lock").read_text(encoding="utf-8").splitlines()
    locked = dict(reversed(line.split()) for line in lock[1:])
    vendored = {path.name for path in (ASSETS / "vendor").iterdir()}
    assert vendored == {*locked, "preact-htm.lock"}
    for name, digest in locked.items():
        assert sha256((ASSETS / "vendor" / name).read_bytes()).hexdigest() == digest, name
    makefile = (Path(__file__).parents[3] / "Makefile").read_text(encoding="utf-8")
    assert f"HTM := {lock[0].rpartition(' ')[2]}\n" in makefile
