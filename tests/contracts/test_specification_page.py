"""docs/specification.md names only routes and series that there are."""

import json
import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
SECTIONS = dict(
    section.split("\n", 1)
    for section in (DOCS / "specification.md").read_text(encoding="utf-8").split("\n## ")[1:]
)


def here(section: str) -> set[str]:
    """Names in the second column."""
    rows = [line.split("|")[2] for line in SECTIONS[section].splitlines() if line.startswith("|")]
    return {name for cell in rows for name in re.findall(r"`([^`]+)`", cell)}


def test_every_route_is_served() -> None:
    paths = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))["paths"]
    routes = here("Routes")
    assert len(routes) > 20
    assert routes - set(paths) == set()


def test_every_series_is_declared() -> None:
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    series = {name for name in here("Series") if "_" in name}
    assert len(series) > 25
    assert {name for name in series if f"`{name}`" not in text} == set()
