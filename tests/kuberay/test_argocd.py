"""The Argo CD Applications name the chart and values files that exist, and may create all of it."""

import gzip
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
ARGOCD = ROOT / "kuberay" / "argocd"
APPLICATIONS = sorted(path for path in ARGOCD.glob("*.yaml") if path.stem != "project")


def load(path: Path) -> dict[str, dict]:  # type: ignore[type-arg]
    document: dict[str, dict] = yaml.safe_load(path.read_text(encoding="utf-8"))  # type: ignore[type-arg]
    return document


@pytest.mark.parametrize("path", sorted(ARGOCD.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_schema_accepts_it(path: Path) -> None:
    document = load(path)
    file = Path(__file__).parent / "schemas" / f"{document['kind']}-v1alpha1.json.gz"
    schema = json.loads(gzip.decompress(file.read_bytes()))
    jsonschema.Draft7Validator(schema).validate(document)


@pytest.mark.parametrize("path", APPLICATIONS, ids=lambda path: path.stem)
def test_an_application_reads_the_environments_values(path: Path) -> None:
    spec = load(path)["spec"]
    chart = ROOT / spec["source"]["path"]
    assert (chart / "Chart.yaml").is_file()
    files = [(chart / name).resolve() for name in spec["source"]["helm"]["valueFiles"]]
    assert files == [ROOT / "kuberay" / "environments" / f"{path.stem}.yaml"]
    assert all(file.is_file() for file in files)
    assert spec["destination"]["namespace"] == f"sentigraph-{path.stem}"


def test_all_three_environments_have_an_application() -> None:
    assert [path.stem for path in APPLICATIONS] == ["development", "production", "staging"]


def test_only_production_waits_for_a_person() -> None:
    automated = {
        path.stem: "automated" in load(path)["spec"]["syncPolicy"] for path in APPLICATIONS
    }
    assert automated == {"development": True, "staging": True, "production": False}


@pytest.mark.parametrize("path", APPLICATIONS, ids=lambda path: path.stem)
def test_the_namespace_enforces_restricted_pods(path: Path) -> None:
    metadata = load(path)["spec"]["syncPolicy"]["managedNamespaceMetadata"]
    assert metadata["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_project_allows_every_kind_of_the_chart() -> None:
    pytest.importorskip("helm_python", reason="pip install .[cluster]")
    from manifests import ENVIRONMENTS, render, values_of  # noqa: PLC0415

    allowed = {
        (entry["group"], entry["kind"])
        for entry in load(ARGOCD / "project.yaml")["spec"]["namespaceResourceWhitelist"]
    }
    made = {
        (document["apiVersion"].rpartition("/")[0], document["kind"])
        for environment in ENVIRONMENTS
        for document in render(values_of(environment))
    }
    assert made <= allowed
