"""Imports are declared, what is installed is pinned, no pin has a known hole. No network."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import (
    PackageNotFoundError,
    distribution,
    packages_distributions,
    requires,
)
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
# Made here, or of the environment itself.
OURS = {"sentigraph", "pip"}
EXTRAS = ("train", "dev")
PRODUCT = {
    *("console", "serverless", "configs", "registry", "deployments", "pipelines", "operations"),
    *("cli", "monitoring"),
}


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


def imported_packages() -> dict[str, str]:
    """Each foreign package that the product imports, with one file that does."""
    found = {}
    for file in sorted(path for package in PRODUCT for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            found |= {name.partition(".")[0]: str(file.relative_to(ROOT)) for name in names}
    return {n: f for n, f in found.items() if n not in PRODUCT | sys.stdlib_module_names}


def test_every_import_of_the_product_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    declared = {canonicalize_name(Requirement(text).name) for text in texts}
    providers = packages_distributions()
    missing = {
        f"{name} ({file})"
        for name, file in imported_packages().items()
        if not declared & {canonicalize_name(each) for each in providers.get(name, [])}
    }
    assert missing == set()


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


def locked(file: str) -> dict[str, tuple[str, str]]:
    """Name to version and what follows it of a file that ``.ci/lock`` made."""
    text = (ROOT / file).read_text(encoding="utf-8")
    found = re.findall(r"(?m)^([a-z0-9][\w.-]*)(?:\[.*?\])?==([^ ;\n]+)(.*(?:\n .*)*)", text)
    return {canonicalize_name(name): (version, rest) for name, version, rest in found}


LOCKS = {
    "requirements/serve.txt": ("postgres",),
    "requirements/gpu.txt": ("gpu", "torch"),
    "requirements/train.txt": ("train", "score"),
    "requirements/mlflow.txt": ("mlflow",),
    "serverless/requirements.txt": (),
}


@pytest.mark.parametrize("file", LOCKS)
def test_what_images_install_is_locked_by_digest(file: str) -> None:
    """After a change of pyproject.toml or constraints.txt: make lock."""
    entries = locked(file)
    assert entries
    for name, (version, rest) in entries.items():
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", rest), name
        # Windows' packages, CUDA's and its build of onnxruntime are pinned here alone.
        assert version == PINS.get(name, version), name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = list(chain(*(project["optional-dependencies"][each] for each in LOCKS[file])))
    if file == "requirements/serve.txt":
        texts += project["dependencies"]
    there = {**locked("requirements/serve.txt"), **entries}
    for text in texts:
        requirement = Requirement(text)
        version, _ = there[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), text


def test_images_and_releases_install_by_digest_alone() -> None:
    for file in ("Dockerfile", ".ci/dist"):
        script = re.sub(r"\\\n", " ", (ROOT / file).read_text(encoding="utf-8"))
        for line in script.splitlines():
            if re.search(r"pip.* install ", line) and "cyclonedx" not in line:
                ours = re.search(r"--no-deps (\.|dist/)", line)
                assert ours or "--require-hashes" in line, line
