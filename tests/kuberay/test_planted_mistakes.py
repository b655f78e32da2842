"""Mistakes that were really made in such charts, planted one at a time: each is caught.

A mistake in a manifest stands for one in a template; ``test_refused_values.py`` has the values'.
"""

from collections.abc import Callable
from copy import deepcopy

import pytest
import yaml
from manifests import Document, merged, render, values_of
from operator_rules import container, groups, ray_service, serve_config
from rules import all_problems

from cli.__main__ import VERBS

pytestmark = pytest.mark.slow

Change = Callable[[list[Document]], object]


@pytest.fixture(scope="module")
def staging() -> list[Document]:
    return render(values_of("staging"))


def find(documents: list[Document], kind: str) -> Document:
    return next(document for document in documents if document["kind"] == kind)


def spec(documents: list[Document]) -> Document:
    found: Document = ray_service(documents)["spec"]
    return found


def cluster(documents: list[Document]) -> Document:
    found: Document = spec(documents)["rayClusterConfig"]
    return found


def worker(documents: list[Document]) -> Document:
    return groups(documents)["gpu"]


def first(documents: list[Document], group: str = "gpu") -> Document:
    return container(groups(documents)[group])


def serve(change: Callable[[Document], object]) -> Change:
    """A change of what serveConfigV2 holds."""

    def apply(documents: list[Document]) -> None:
        config = serve_config(documents)
        change(config)
        spec(documents)["serveConfigV2"] = yaml.safe_dump(config)

    return apply


def variable(name: str, value: str, group: str = "gpu") -> Change:
    def apply(documents: list[Document]) -> None:
        env = [item for item in first(documents, group)["env"] if item["name"] != name]
        first(documents, group)["env"] = [*env, {"name": name, "value": value}]

    return apply


def model(**sizes: float) -> Change:
    return serve(lambda c: c["applications"][0]["args"]["replicas"]["model"].update(sizes))


def without_dns(documents: list[Document]) -> None:
    for document in documents:
        if document["kind"] == "NetworkPolicy":
            rules = document["spec"]["egress"]
            document["spec"]["egress"] = [
                rule for rule in rules if {"protocol": "UDP", "port": 53} not in rule["ports"]
            ]


# What → (how it is planted, what the check says).
IN_MANIFESTS: dict[str, tuple[Change, str]] = {
    "misspelt key of the RayService": (
        lambda d: spec(d).update(serveConfig="x"),
        "serveConfig",
    ),
    "misspelt key of a worker group": (
        lambda d: worker(d).update(minReplica=worker(d).pop("minReplicas")),
        "minReplica",
    ),
    "number as a word": (lambda d: worker(d).update(replicas="two"), "two"),
    "misspelt key of a pod": (
        lambda d: first(d).update(readynessProbe=first(d).pop("readinessProbe")),
        "readynessProbe",
    ),
    "misspelt key of a deployment": (
        lambda d: find(d, "Deployment")["spec"].update(replica=2),
        "replica",
    ),
    "misspelt key of a monitor": (
        lambda d: find(d, "PodMonitor")["spec"]["podMetricsEndpoints"][0].update(intervall="5s"),
        "intervall",
    ),
    "misspelt key of an external secret": (
        lambda d: find(d, "ExternalSecret")["spec"].update(refreshinterval="5m"),
        "refreshinterval",
    ),
    "unknown kind": (lambda d: find(d, "Service").update(kind="Servise"), "no schema"),
    "misspelt Serve key, which Ray drops": (
        serve(lambda c: c["applications"][0]["deployments"][0].update(num_replica=8)),
        "num_replica",
    ),
    "setting of ours that does not exist": (
        serve(lambda c: c["applications"][0]["args"].update(topologie="split")),
        "topologie",
    ),
    "profile that does not exist": (
        serve(lambda c: c["applications"][0]["args"].update(profile="prod-eu")),
        "profile",
    ),
    "loopback address": (
        serve(lambda c: c["http_options"].update(host="127.0.0.1")),
        "0.0.0.0",
    ),
    "HAProxy without throughput mode": (
        variable("RAY_SERVE_THROUGHPUT_OPTIMIZED", "0"),
        "must both be on",
    ),
    "environment of one group differs": (
        variable("RAY_SERVE_HAPROXY_NBTHREAD", "8"),
        "differs from the head's",
    ),
    "Ray of another version than the image's": (
        lambda d: cluster(d).update(rayVersion="2.53.0"),
        "not the image's",
    ),
    "no token": (lambda d: cluster(d).pop("authOptions"), "submit jobs"),
    "head runs replicas": (
        lambda d: cluster(d)["headGroupSpec"]["rayStartParams"].update({"num-cpus": "4"}),
        "num-cpus must be 0",
    ),
    "bounds the wrong way round": (lambda d: worker(d).update(maxReplicas=0), "disagree"),
    "restart policy against autoscaler version 2": (
        lambda d: worker(d)["template"]["spec"].update(restartPolicy="Always"),
        "restartPolicy",
    ),
    "killed before HAProxy has drained": (
        lambda d: worker(d)["template"]["spec"].update(terminationGracePeriodSeconds=30),
        "hard stop",
    ),
    "steps larger than the surge": (
        lambda d: spec(d).update(
            upgradeStrategy={
                "type": "NewClusterWithIncrementalUpgrade",
                "clusterUpgradeOptions": {
                    "gatewayClassName": "istio",
                    "stepSizePercent": 80,
                    "maxSurgePercent": 20,
                    "intervalSeconds": 10,
                },
            }
        ),
        "stepSizePercent",
    ),
    "Redis address beside the option": (
        variable("RAY_REDIS_ADDRESS", "redis:6379", "head"),
        "belongs to gcsFaultToleranceOptions",
    ),
    "Redis password written out": (
        lambda d: cluster(d)["gcsFaultToleranceOptions"].update(redisPassword={"value": "x"}),
        "from a secret",
    ),
    "secret in the environment": (variable("OTLP_API_KEY", "abc"), "is written out"),
    "secret of ours as a variable": (
        lambda d: container(groups(d)["gpu"])["env"].append(
            {
                "name": "MLOPS_REDIS__PASSWORD",
                "valueFrom": {"secretKeyRef": {"name": "s", "key": "redis-password"}},
            }
        ),
        "in every process's environment",
    ),
    "secret among the manifests": (
        lambda d: d.append(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {}}
        ),
        "is in the manifests",
    ),
    "replica ports inside the ephemeral ones": (
        variable("RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT", "41000"),
        "ephemeral",
    ),
    "port ranges overlap": (
        lambda d: worker(d)["rayStartParams"].update({"max-worker-port": "30500"}),
        "overlap",
    ),
    "policy forgets the replica ports": (
        lambda d: [
            rule["ports"].remove(port)
            for rule in find(d, "NetworkPolicy")["spec"]["ingress"]
            for port in list(rule["ports"])
            if port["port"] == 30000
        ],
        "closed between the pods",
    ),
    "policy without names": (without_dns, "cannot ask for a name"),
    "policy open to the internet": (
        lambda d: find(d, "NetworkPolicy")["spec"]["egress"].append(
            {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": []}
        ),
        "open to the internet",
    ),
    "budget with both limits": (
        lambda d: find(d, "PodDisruptionBudget")["spec"].update(minAvailable=1),
        "one of minAvailable and maxUnavailable",
    ),
    "budget that selects nothing": (
        lambda d: find(d, "PodDisruptionBudget")["spec"]["selector"].update(
            matchLabels={"app": "sentigraph"}
        ),
        "selects no pod",
    ),
    "root file system writable": (
        lambda d: first(d)["securityContext"].update(readOnlyRootFilesystem=False),
        "readOnlyRootFilesystem",
    ),
    "autoscaler without a security context": (
        lambda d: cluster(d)["autoscalerOptions"].pop("securityContext"),
        "autoscaler: securityContext",
    ),
    "image without a version": (
        lambda d: first(d).update(image="registry.example.com/sentigraph:latest"),
        "not pinned",
    ),
    "no memory limit": (lambda d: first(d)["resources"]["limits"].pop("memory"), "no memory"),
    "probe on a path that nothing answers": (
        lambda d: first(d)["livenessProbe"]["httpGet"].update(path="/health/details"),
        "nothing answers",
    ),
    "KubeRay's own probe, which runs wget": (lambda d: first(d).pop("livenessProbe"), "wget"),
    "more replicas than cards": (model(num_replicas=40), "have room for 4"),
    "fraction that needs more cores than the pod has": (model(num_cpus=4), "more CPUs"),
    "replicas by cores of an unknown node": (model(num_replicas=0), "must be named"),
    "more CPUs than the groups may have": (
        serve(lambda c: c["applications"][0]["args"]["replicas"]["tokenizer"].update(num_cpus=20)),
        "may grow to",
    ),
    "monitor of a port that no pod has": (
        lambda d: find(d, "PodMonitor")["spec"]["podMetricsEndpoints"][0].update(port="http"),
        "no pod has a port",
    ),
    "pod without its service account": (
        lambda d: worker(d)["template"]["spec"].update(serviceAccountName="default"),
        "service account",
    ),
}


@pytest.mark.parametrize("what", sorted(IN_MANIFESTS))
def test_a_mistake_in_a_manifest_is_found(what: str, staging: list[Document]) -> None:
    plant, said = IN_MANIFESTS[what]
    documents = deepcopy(staging)
    plant(documents)
    assert documents != staging, "nothing was planted"
    found = all_problems(documents)
    assert any(said in problem for problem in found), found


def test_what_replicas_log_is_printed_where_that_is_turned_on(staging: list[Document]) -> None:
    values = merged(values_of("staging"), {"logs": {"onStdout": True}})
    for documents, names in ((staging, set()), (render(values), {"logs"})):
        for group in groups(documents).values():
            pod = group["template"]["spec"]
            assert {item["name"] for item in pod["containers"][1:]} == names
            folder = next(m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "tmp")
            for item in pod["containers"][1:]:
                assert item["volumeMounts"] == [{**folder, "readOnly": True}]
                # The verb is one that there is.
                assert item["command"][3] in VERBS
