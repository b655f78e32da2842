"""The page on the architecture names files that exist, and walks that stay short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
# Files that a reader of a walk opened before the packages were made.
LONGEST = {"A request": 38, "A promotion": 24, "A Kafka message": 12, "A batch job": 16}


def walk(name: str) -> list[str]:
    """The files of a walk, with their package."""
    _, _, rest = PAGE.partition(f"**{name}")
    paragraph, _, _ = rest.partition("\n\n")
    files, package = [], ""
    for found in re.findall(r"`([\w/.]+(?:/|\.py))`", paragraph):
        if found.endswith("/"):
            package = found
        else:
            files.append(package + found)
    return files


@pytest.mark.parametrize("name", LONGEST)
def test_a_walk_is_shorter_than_it_was(name: str) -> None:
    files = walk(name)
    assert 5 < len(files) < LONGEST[name]
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_every_layer_of_the_contract_is_drawn() -> None:
    for package in (ROOT / "deployments").iterdir():
        name = package.stem
        if not name.startswith("__") and (package.is_file() or any(package.glob("*.py"))):
            assert re.search(rf"\b{name}\b", PAGE), f"docs/architecture.md does not show {name}"
