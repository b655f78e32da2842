"""Formatting, validation, tests with mocked providers and plans, offline, for all three clouds.

And that what comes out is what the chart takes in.
"""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CLOUDS = ("aws", "azure", "google")
ROOTS = (*CLOUDS, "platform")
ENVIRONMENTS = ("development", "staging", "production")
MODULES = sorted(path.parent for path in (ROOT / "terraform").rglob("main.tf"))
Terraform = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.slow


def said(result: subprocess.CompletedProcess[str]) -> str:
    return result.stdout + result.stderr


def outputs(terraform: Terraform, cloud: str, environment: str) -> dict[str, Any]:
    """The outputs of a whole environment under mocked providers, which must pass its tests."""
    result = terraform(
        cloud,
        "test",
        "-json",
        "-verbose",
        "-filter=tests/environment.tftest.hcl",
        f"-var-file=environments/{environment}.tfvars",
    )
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 0, [line["@message"] for line in lines] + [result.stderr]
    [state] = [line["test_state"] for line in lines if line["type"] == "test_state"]
    return {name: output["value"] for name, output in state["outputs"].items()}


def test_everything_is_formatted(terraform: Terraform) -> None:
    result = terraform("", "fmt", "-check", "-recursive", "-diff")
    assert result.returncode == 0, said(result)


@pytest.mark.parametrize("root", ROOTS)
def test_a_root_is_valid(root: str, terraform: Terraform) -> None:
    result = terraform(root, "validate", "-no-color")
    assert result.returncode == 0, said(result)


@pytest.mark.parametrize("root", ["aws", "platform"])
def test_variables_refuse_and_operators_are_there(root: str, terraform: Terraform) -> None:
    file = "refusals" if root == "aws" else "environment"
    files = ["-var-file=environments/production.tfvars"] if root == "aws" else []
    result = terraform(root, "test", "-no-color", f"-filter=tests/{file}.tftest.hcl", *files)
    assert result.returncode == 0, said(result)
    assert re.search(r"Success! [1-9]\d* passed, 0 failed", result.stdout)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_production_can_be_planned(cloud: str, terraform: Terraform) -> None:
    result = terraform(
        cloud, "plan", "-input=false", "-no-color", "-var-file=environments/production.tfvars"
    )
    assert result.returncode == 0, said(result)
    assert re.search(r"Plan: [3-9]\d to add, 0 to change, 0 to destroy", result.stdout)


# Each cloud and each environment; all nine would take minutes.
@pytest.mark.parametrize(
    ("cloud", "environment"),
    [("aws", "production"), ("google", "production"), ("azure", "staging"), ("aws", "development")],
)
def test_the_outputs_are_the_charts_inputs(
    cloud: str, environment: str, terraform: Terraform
) -> None:
    pytest.importorskip("helm_python", reason="pip install .[cluster]")
    from manifests import leaves, merged, render, values_of  # noqa: PLC0415
    from rules import all_problems  # noqa: PLC0415

    values = outputs(terraform, cloud, environment)["chart_values"]
    documents = render(merged(values_of(environment), values))
    # The release's namespace is the test's own here; everything else is Terraform's.
    assert all_problems(documents) == []
    text = yaml.safe_dump_all(documents)
    for value in leaves(values):
        assert str(value) in text, f"{value} does nothing in the chart"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_pods_would_dial_is_there_and_let_out(cloud: str, terraform: Terraform) -> None:
    pytest.importorskip("helm_python", reason="pip install .[cluster]")
    from manifests import merged, render, values_of  # noqa: PLC0415
    from operator_rules import container, groups, serve_config, variables  # noqa: PLC0415
    from outside_rules import open_ports  # noqa: PLC0415
    from rules import all_problems  # noqa: PLC0415

    values = outputs(terraform, cloud, "production")["chart_values"]
    documents = render(merged(values_of("production-streams"), values))
    assert all_problems(documents) == []
    args = serve_config(documents)["applications"][0]["args"]
    redis, stream = args["redis"], args["stream"]
    # Nothing is left of the names that only the environment's file knows.
    assert not [
        text
        for text in (redis["host"], *stream["bootstrap_servers"])
        if "sentigraph.internal" in text
    ]
    assert redis["port"] == {"aws": 6379, "google": 6378, "azure": 6380}[cloud]
    assert f"//{redis['host']}:{redis['port']}" in values["gcsFaultTolerance"]["redisAddress"]
    assert redis["tls"] is True
    ports = {int(server.rpartition(":")[2]) for server in stream["bootstrap_servers"]}
    assert ports == {{"aws": 9096, "google": 9092, "azure": 9093}[cloud]}
    assert stream["security_protocol"] == "SASL_SSL"
    assert stream["sasl_mechanism"] == ("SCRAM-SHA-512" if cloud == "aws" else "PLAIN")
    assert stream["username"]
    for name, group in groups(documents).items():
        needed = {redis["port"]} | (set() if name == "head" else {*ports, 5432})
        assert needed <= open_ports(documents, group, "egress", "to"), name
        assert ("RAY_REDIS_CA_CERT" in variables(group)) == (cloud == "google")
        mounts = {mount["mountPath"] for mount in container(group)["volumeMounts"]}
        assert ("/etc/sentigraph/redis" in mounts) == (cloud == "google")


def test_the_clouds_give_the_same_outputs() -> None:
    texts = {(ROOT / "terraform" / cloud / "outputs.tf").read_text() for cloud in CLOUDS}
    assert len(texts) == 1


def blocks(cloud: str) -> dict[str, str]:
    text = (ROOT / "terraform" / cloud / "variables.tf").read_text(encoding="utf-8")
    return dict(re.findall(r'(?ms)^variable "(\w+)" \{\n(.*?)^\}', text))


@pytest.mark.parametrize("cloud", ["azure", "google"])
def test_shared_variables_are_the_same_text_in_all_clouds(cloud: str) -> None:
    mine, aws = blocks(cloud), blocks("aws")
    own = {"pools"} if cloud == "google" else set()  # names the cards as well
    shared = mine.keys() & aws.keys() - own
    assert len(shared) >= 14
    assert {name: mine[name] for name in shared} == {name: aws[name] for name in shared}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_variables_are_described_and_validated(module: Path) -> None:
    text = (module / "variables.tf").read_text(encoding="utf-8")
    for name, body in re.findall(r'(?ms)^variable "(\w+)" \{\n(.*?)^\}', text):
        assert re.search(r'(?m)^  description += ".{8,}"', body), name
        assert "  type " in body or "  type=" in body, name
        assert "validation {" in body or re.search(r"(?m)^  type += bool$", body), name
    for name, body in re.findall(
        r'(?ms)^output "(\w+)" \{\n(.*?)^\}', (module / "outputs.tf").read_text(encoding="utf-8")
    ):
        assert re.search(r'(?m)^  description += ".{8,}"', body), name


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_pools_are_those_that_the_chart_selects(cloud: str, environment: str) -> None:
    chart = yaml.safe_load((ROOT / "kuberay" / "environments" / f"{environment}.yaml").read_text())
    tfvars = (ROOT / "terraform" / cloud / "environments" / f"{environment}.tfvars").read_text()
    pools = {name: line for name, line in re.findall(r'(?m)^  "?([a-z-]+)"? += (\{.*\})$', tfvars)}
    for group, size in chart["workers"].items():
        pool = size.get("nodeSelector", {}).get("sentigraph/pool")
        if pool is None:
            continue
        assert pool in pools, f"{group} selects {pool}"
        most = int(re.findall(r"max += (\d+)", pools[pool])[0])
        assert size["maxReplicas"] <= most, f"{group} may grow beyond the pool"
        assert bool(size.get("gpus")) == ("gpus" in pools[pool])
        assert not size.get("spot") or "spot = true" in pools[pool].replace("  ", " ")


def test_the_application_reads_what_vault_holds() -> None:
    """The keys that the module writes are those that the chart's ExternalSecret takes."""
    module = (ROOT / "terraform" / "modules" / "vault" / "variables.tf").read_text()
    chart = (ROOT / "kuberay" / "chart" / "templates" / "secrets.yaml").read_text()
    environments = [
        yaml.safe_load((ROOT / "kuberay" / "environments" / f"{name}.yaml").read_text())
        for name in ("production", "streams")
    ]
    [listed] = re.findall(r"range concat \(list (.*?)\)", chart)
    named = {key for each in environments for key in each["secrets"]["settings"].values()}
    read = {*re.findall(r'"([\w-]+)"', listed), *named}
    assert read == set(re.findall(r"(?m)^    ([\w-]+) += string", module))
