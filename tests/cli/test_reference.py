"""The documents of verbs and routes are what the code says."""

import json
from pathlib import Path

from cli.__main__ import VERBS
from cli.reference import api_page, cli_page

DOCS = Path(__file__).parents[2] / "docs"


def test_the_documents_are_current() -> None:
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == cli_page()
    document = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    assert (DOCS / "api.md").read_text(encoding="utf-8") == api_page(document)


def test_every_verb_and_route_is_there() -> None:
    page = cli_page()
    assert all(f"\n## {verb}\n" in page for verb in VERBS)
    document = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    routes = api_page(document)
    for path, methods in document["paths"].items():
        assert all(f"`{method.upper()} {path}`" in routes for method in methods)
