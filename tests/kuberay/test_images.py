"""Each environment's images hold what its settings need: provider, extras, packages, files."""

import fnmatch
import re
import tomllib
from typing import Any

import pytest
import yaml
from manifests import CHART, ENVIRONMENTS, ROOT, Document, merged, render, values_of
from operator_rules import container, groups, secret_files, serve_config

DOCKERFILE = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# An image's name in a registry → its target; `.ci/image` names what it builds alike.
TARGETS = {"sentigraph": "serve", "sentigraph-gpu": "serve-gpu", "sentigraph-mlflow": "mlflow"}


def stages() -> dict[str, tuple[str, str]]:
    """Stage → the one that it starts from, and its instructions."""
    found = {}
    for text in re.split(r"(?m)^FROM ", DOCKERFILE)[1:]:
        base, _, name = text.splitlines()[0].split()
        found[name] = (base, text)
    return found


def chain(stage: str) -> str:
    """The instructions of a stage and of all that it starts from."""
    found = ""
    while stage in stages():
        stage, text = stages()[stage]
        found = text + found
    return found


def environment_of(target: str) -> str:
    """The instructions that made the target's /venv."""
    [source] = re.findall(r"COPY --from=(\S+) /venv", chain(target))
    return chain(source)


def extras(target: str) -> set[str]:
    """The extras whose packages are all in the files of hashes that the target installs."""
    files = re.findall(r"--requirement requirements/(\w+)\.txt", environment_of(target))
    pinned = {
        name
        for file in files
        for name in re.findall(r"(?m)^([\w-]+)==", (ROOT / f"requirements/{file}.txt").read_text())
    }
    return {
        extra
        for extra, wanted in PROJECT["project"]["optional-dependencies"].items()
        if {re.split(r"[^\w-]", each)[0] for each in wanted} <= pinned
    }


def replaces_onnxruntime(target: str) -> bool:
    return "pip uninstall --yes onnxruntime " in environment_of(target)


def needed(documents: list[Document]) -> set[str]:
    """The extras that the settings of an environment need."""
    args = serve_config(documents)["applications"][0]["args"]
    files = {name for group in groups(documents).values() for name in secret_files(group)}
    found = set()
    if args.get("model", {}).get("provider") == "cuda":
        found |= {"gpu", "torch"}
    if "MLOPS_JOBS__DATABASE" in files:
        found.add("postgres")
    return found


def target_of(image: str) -> str:
    return TARGETS[image.rpartition("/")[2].partition(":")[0].partition("@")[0]]


@pytest.mark.slow
@pytest.mark.parametrize("environment", sorted(ENVIRONMENTS))
def test_the_image_of_an_environment_has_what_it_needs(environment: str) -> None:
    documents = render(values_of(environment))
    for group in groups(documents).values():
        target = target_of(container(group)["image"])
        assert needed(documents) <= extras(target)
        assert ("gpu" in extras(target)) == ("gpu" in needed(documents))
    [mlflow] = [d for d in documents if d["kind"] == "Deployment"]
    assert target_of(mlflow["spec"]["template"]["spec"]["containers"][0]["image"]) == "mlflow"


def test_the_cpus_image_would_be_found_out() -> None:
    values = merged(values_of("production"), {"image": {"repository": "r.example.com/sentigraph"}})
    documents = render(values)
    assert not needed(documents) <= extras(target_of(container(groups(documents)["gpu"])["image"]))


def test_two_runtimes_never_share_a_folder() -> None:
    assert {name for name in TARGETS.values() if replaces_onnxruntime(name)} == {"serve-gpu"}


@pytest.mark.parametrize("target", ["serve", "serve-gpu", "train"])
def test_all_packages_and_their_files_are_copied(target: str) -> None:
    setuptools = PROJECT["tool"]["setuptools"]
    packages = {name.rstrip("*") for name in setuptools["packages"]["find"]["include"]}
    copies = dict(re.findall(r"(?m)^COPY (\w+) (\w+)$", chain(target)))
    assert packages | {"models"} <= copies.keys()
    assert all(source == place for source, place in copies.items())
    # Rules and dashboards come with their packages, unless the context leaves them out.
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for package, patterns in setuptools["package-data"].items():
        for pattern in patterns:
            files = list((ROOT / package.replace(".", "/")).glob(pattern))
            assert files, f"{package}: {pattern}"
            for file in files:
                name = str(file.relative_to(ROOT))
                last = [line for line in ignored if fnmatch.fnmatch(name, f"*{line.lstrip('!')}*")]
                assert last[-1].startswith("!"), name


def test_images_that_the_chart_names_are_those_that_are_built() -> None:
    built = (ROOT / ".ci" / "image").read_text(encoding="utf-8")
    named = {
        target: name.replace("$target", target)
        for choice, name in re.findall(r"(?m)^    ([\w| -]+)\) name=(\S+) ;;$", built)
        for target in choice.split(" | ")
    }
    assert {name: target for target, name in named.items() if target != "train"} == TARGETS


def test_the_chart_waits_for_load_balancers_although_the_image_does_not() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["environment"]
    image = dict(re.findall(r"(RAY_SERVE_\w*DRAINING_PERIOD_S)=(\d+)", chain("serve")))
    assert len(image) == 2
    assert all(int(seconds) < 5 for seconds in image.values())
    assert all(int(values[name]) >= 30 for name in image)
