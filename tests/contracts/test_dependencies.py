"""What is installed is what is pinned, all of it, and has no known hole. Needs no network."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
# Made here, or of the environment itself.
OURS = {"sentigraph", "pip"}
EXTRAS = ("train", "dev")


def lines(file: str) -> list[str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


PINS = {
    canonicalize_name(name): version
    for name, _, version in (line.partition("==") for line in lines("constraints.txt"))
}
ADVISORIES = [line.split() for line in lines(".ci/advisories.txt")]


def needed(name: str, extras: tuple[str, ...], seen: set[str]) -> Iterator[str]:
    """Every distribution that ``name`` needs here, by markers and extras."""
    for text in requires(name) or []:
        requirement = Requirement(text)
        marker = requirement.marker
        chosen = [marker.evaluate({"extra": extra}) for extra in ("", *extras)] if marker else [1]
        found = canonicalize_name(requirement.name)
        if any(chosen) and found not in seen:
            seen.add(found)
            yield found
            try:
                yield from needed(found, tuple(requirement.extras), seen)
            except PackageNotFoundError:
                continue  # the test below says which


def test_every_pin_is_one_exact_version() -> None:
    for line in lines("constraints.txt"):
        name, _, version = line.partition("==")
        requirement = Requirement(line)
        assert not requirement.url
        assert not requirement.marker
        assert canonicalize_name(name) == canonicalize_name(requirement.name)
        assert str(Version(version)) == version.strip()


def test_all_that_is_needed_is_pinned_and_installed_as_pinned() -> None:
    closure = set(needed("sentigraph", EXTRAS, set())) - OURS
    assert len(closure) > 100
    assert closure - PINS.keys() == set()
    # A build for another processor (torch's 2.13.0+cpu) is the same version.
    installed = {name: Version(distribution(name).version).public for name in closure}
    assert {n: v for n, v in installed.items() if Version(v) != Version(PINS[n])} == {}


@pytest.mark.parametrize(("name", "good", "advisory"), ADVISORIES)
def test_no_pin_goes_back_to_a_known_hole(name: str, good: str, advisory: str) -> None:
    assert name in PINS, f"{name} is no dependency any more: drop the line"
    assert Version(PINS[name]) >= Version(good), advisory
