"""The documentation page comes from this server alone, and runs nothing that is not its own."""

import re
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from front import with_front

from configs.schema.app import AppConfig
from deployments.ingress.docs_page import ASSETS, POLICY

CONFIG = AppConfig.model_validate({"cache": {"l2": "none"}})
LOCK = (ASSETS / "swagger-ui.lock").read_text(encoding="utf-8").splitlines()
OWN = ("docs.html", "init.js")
_HOST = re.compile(r"https?://([\w.-]+\.[a-z]{2,})", re.ASCII)
# What Swagger UI links to or compares with; it asks the validator only with a validatorUrl.
LINKED = {
    "datatracker.ietf.org",
    "example.com",
    "fb.me",
    "github.com",
    "instagram.com",
    "json-schema.org",
    "reactjs.org",
    "redux.js.org",
    "soundcloud.com",
    "spdx.org",
    "spec.openapis.org",
    "swagger.io",
    "twitter.com",
    "validator.swagger.io",
    "vladimirgorej.com",
    "www.facebook.com",
    "www.rfc-editor.org",
    "www.tiktok.com",
    "www.w3.org",
}


def test_the_page_and_all_that_it_loads_come_from_here() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        page = await client.get("/api/v1/docs")
        assert page.headers["content-type"].startswith("text/html")
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert "docs/init.js" in loaded
        for name in loaded:
            if name.startswith("data:"):
                continue
            found = await client.get(f"/api/v1/{name}")
            assert found.status_code == 200, name
            kind = "text/css" if name.endswith(".css") else "text/javascript"
            assert found.headers["content-type"].startswith(kind)
            assert found.headers["content-security-policy"] == POLICY
            assert found.headers["x-content-type-options"] == "nosniff"
        document = re.search(r'url: "([^"]+)"', (await client.get("/api/v1/docs/init.js")).text)
        assert document is not None
        assert (await client.get(f"/api/v1/{document[1]}")).json()["openapi"].startswith("3.")

    with_front(CONFIG, body)


def test_the_policy_allows_its_own_files_alone() -> None:
    assert POLICY == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'"
    )
    page = (ASSETS / "docs.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)
    assert "validatorUrl: null" in (ASSETS / "init.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["LICENSE", "swagger-ui.lock", "nothing.js", "..%2fopenapi.py"])
def test_other_files_are_not_served(name: str) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        answer = await client.get(f"/api/v1/docs/{name}")
        assert (answer.status_code, answer.json()["error_code"]) == (404, "E1001")

    with_front(CONFIG, body)


def test_no_asset_names_a_foreign_host() -> None:
    for name in OWN:
        assert "//" not in re.sub(r"(?m)^ *// .*$", "", (ASSETS / name).read_text(encoding="utf-8"))
    style = (ASSETS / "swagger-ui.css").read_text(encoding="utf-8")
    assert set(_HOST.findall(style)) == {"www.w3.org"}  # the name space of its pictures
    assert "@import" not in style
    script = (ASSETS / "swagger-ui-bundle.js").read_text(encoding="utf-8")
    assert set(_HOST.findall(script)) <= LINKED


def test_the_vendored_files_are_those_of_the_lock() -> None:
    assert re.fullmatch(r"# swagger-ui-dist \d+\.\d+\.\d+", LOCK[0])
    locked = dict(reversed(line.split()) for line in LOCK[1:])
    assert {"LICENSE", "swagger-ui-bundle.js", "swagger-ui.css"} <= set(locked)
    assert {path.name for path in ASSETS.iterdir()} == {*locked, *OWN, "swagger-ui.lock"}
    for name, digest in locked.items():
        assert sha256((ASSETS / name).read_bytes()).hexdigest() == digest, name
    makefile = (Path(__file__).parents[3] / "Makefile").read_text(encoding="utf-8")
    assert f"SWAGGER_UI := {LOCK[0].rpartition(' ')[2]}\n" in makefile
