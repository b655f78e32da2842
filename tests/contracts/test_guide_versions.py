"""The versions that the Kubernetes guide asks for are those that charts, plans and tests have."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "kubernetes.md").read_text(encoding="utf-8")
ROWS = [
    line for line in GUIDE.partition("## What the chart decides")[0].splitlines() if "|" in line
]


def row(name: str) -> str:
    (found,) = (line for line in ROWS if name in line.split("|")[1])
    return found


def in_file(path: str, pattern: str) -> str:
    found = re.search(pattern, (ROOT / path).read_text(encoding="utf-8"), re.S)
    assert found is not None, f"{path}: no {pattern}"
    return found[1]


@pytest.mark.parametrize(
    ("name", "operator"),
    [
        ("KubeRay operator", "kuberay-operator"),
        ("cert-manager", "cert-manager"),
        ("External Secrets", "external-secrets"),
        ("device plugin", "nvidia-device-plugin"),
    ],
)
def test_operators_are_those_that_terraform_installs(name: str, operator: str) -> None:
    version = in_file("terraform/platform/main.tf", rf'{operator} = {{.*?version *= "([^"]+)"')
    assert version in row(name)
    if operator == "kuberay-operator":
        assert f"--version {version} " in GUIDE


def test_kubernetes_and_helm_are_those_of_the_chart_and_its_tests() -> None:
    least = in_file("kuberay/chart/Chart.yaml", r'kubeVersion: ">=([0-9]+\.[0-9]+)\.')
    schemas = in_file("tests/kuberay/manifests.py", r'KUBERNETES = "([^"]+)"')
    assert f"{least} or newer" in row("Kubernetes")
    assert f"schemas of {schemas}" in row("Kubernetes")
    library = in_file("pyproject.toml", r'"helm-python-sdk==([^"]+)"')
    assert f"`helm-python-sdk` {library}" in row("Helm")
