"""Every manifest of every environment, through every check that needs no cluster."""

from typing import Any

import helm_python as helm
import pytest
import yaml
from manifests import (
    CHART,
    ENVIRONMENTS,
    ROOT,
    Document,
    merged,
    render,
    schema_problems,
    values_of,
)
from operator_rules import ray_service, secret_files, serve_config
from rules import RULES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=sorted(ENVIRONMENTS))
def environment(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def documents(environment: str) -> list[Document]:
    return render(values_of(environment))


def test_helm_lint_is_clean(environment: str) -> None:
    report = helm.lint(CHART, values_of(environment), strict=True, kube_version="v1.34.0")
    assert report["errors"] == []
    assert [message["error"] for message in report["messages"] if message["severity"] > 1] == []


def test_schemas_accept_every_manifest(documents: list[Document]) -> None:
    assert len(documents) >= 8
    assert [problem for document in documents for problem in schema_problems(document)] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_rule_is_broken(rule: Any, documents: list[Document]) -> None:
    assert list(rule(documents)) == []


def test_the_serve_config_is_the_repositorys_with_the_overlay(
    environment: str, documents: list[Document]
) -> None:
    base = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    overlay = merged(defaults, values_of(environment))["serve"]
    [application] = base["applications"]
    address = {
        "args": {"registry": {"tracking_uri": "http://sentigraph-mlflow.sentigraph.svc:5000"}}
    }
    application = merged(merged(application, address), overlay["application"])
    if environment == "development":  # the chart binds jobs to their volume
        place = {"num_cpus": 0, "resources": {"jobs-volume": 1}}
        database = {"args": {"jobs": {"database": "sqlite:////app/jobs/jobs.db"}}}
        application = merged(application, database)
        application["deployments"] = [{"name": "Jobs", "ray_actor_options": place}]
    rest = {key: value for key, value in overlay.items() if key != "application"}
    assert serve_config(documents) == merged({**base, "applications": [application]}, rest)


def test_the_chart_links_the_file_and_does_not_copy_it() -> None:
    link = CHART / "files" / "serve_config.yaml"
    assert link.is_symlink()
    assert link.resolve() == ROOT / "serve_config.yaml"


def test_a_change_of_the_serve_config_reaches_the_manifest(
    environment: str, documents: list[Document]
) -> None:
    values = merged(values_of(environment), {"serve": {"logging_config": {"log_level": "ERROR"}}})
    changed = ray_service(render(values))["spec"]
    was = ray_service(documents)["spec"]
    assert yaml.safe_load(changed["serveConfigV2"])["logging_config"]["log_level"] == "ERROR"
    # In place: nothing else of the resource moves, so KubeRay makes no second cluster.
    assert {**changed, "serveConfigV2": ""} == {**was, "serveConfigV2": ""}


@pytest.mark.parametrize("name", ["staging", "production", "production-spot"])
def test_what_a_shared_cluster_must_have(name: str) -> None:
    documents = render(values_of(name))
    kinds = {document["kind"] for document in documents}
    assert kinds >= {"NetworkPolicy", "PodDisruptionBudget", "ExternalSecret", "PodMonitor"}
    cluster = ray_service(documents)["spec"]["rayClusterConfig"]
    assert cluster["gcsFaultToleranceOptions"]["redisAddress"].startswith("rediss://")
    args = serve_config(documents)["applications"][0]["args"]
    assert args["model"]["provider"] == "cuda"
    # The profile shares predictions in Redis: its address, its password, the way to it.
    assert args["redis"]["host"] in cluster["gcsFaultToleranceOptions"]["redisAddress"]
    for group in cluster["workerGroupSpecs"]:
        assert secret_files(group)["MLOPS_REDIS__PASSWORD"] == (
            "sentigraph-secrets",
            "redis-password",
        )
    policies = [d for d in documents if d["kind"] == "NetworkPolicy"]
    [serving] = [p for p in policies if p["metadata"]["name"].endswith("-serving")]
    assert 6379 in {port["port"] for rule in serving["spec"]["egress"] for port in rule["ports"]}


def test_spot_pods_come_last_and_only_they_tolerate_the_taint() -> None:
    cluster = ray_service(render(values_of("production-spot")))["spec"]["rayClusterConfig"]
    tolerating = {
        group["groupName"]
        for group in cluster["workerGroupSpecs"]
        for item in group["template"]["spec"].get("tolerations", [])
        if item["key"] == "sentigraph/spot"
    }
    assert tolerating == {"gpu-spot"}
    always = {g["groupName"]: g["minReplicas"] for g in cluster["workerGroupSpecs"]}
    assert always["gpu-spot"] == 0
    assert always["gpu"] > 0


def test_workers_and_not_the_head_have_their_cloud_identity() -> None:
    role, label = (
        {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/r"},
        {"azure.workload.identity/use": "true"},
    )
    identity = {"annotations": role, "podLabels": label}
    documents = render(merged(values_of("production"), {"workerIdentity": identity}))
    accounts = {
        d["metadata"]["name"]: d["metadata"] for d in documents if d["kind"] == "ServiceAccount"
    }
    assert {n: "annotations" in m for n, m in accounts.items()} == {
        "sentigraph-worker": True,
        "sentigraph-head": False,
        "sentigraph-mlflow": False,
    }
    assert accounts["sentigraph-worker"]["annotations"] == role
    cluster = ray_service(documents)["spec"]["rayClusterConfig"]
    for group in (*cluster["workerGroupSpecs"], cluster["headGroupSpec"]):
        labelled = label.items() <= group["template"]["metadata"]["labels"].items()
        assert labelled == ("groupName" in group)
