"""Rules for pods, policies and monitors: what a restricted, drainable namespace needs."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from manifests import Document
from operator_rules import container, groups, ray_service, variables

HEALTH_PATHS = {"/api/local_raylet_healthz", "/api/healthz", "/-/healthz", "/health"}
SECRET_NAME = re.compile(r"PASSWORD|TOKEN|SECRET|CREDENTIAL|API_KEY|BACKEND_STORE_URI")
# Where a kind says which pods it is about.
SELECTOR = {
    "PodDisruptionBudget": "selector",
    "NetworkPolicy": "podSelector",
    "PodMonitor": "selector",
    "Service": "selector",
}
# Beside the containers of the pod templates there is the autoscaler that KubeRay adds.
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pods(documents: list[Document]) -> dict[str, Document]:
    """Every pod template by name."""
    found = {f"ray {name}": group["template"] for name, group in groups(documents).items()}
    for document in documents:
        if document["kind"] == "Deployment":
            found[document["metadata"]["name"]] = document["spec"]["template"]
    return found


def pod_problems(documents: list[Document]) -> Iterator[str]:
    """Security, resources, probes, images and secrets of every container."""
    for name, template in pods(documents).items():
        spec = template["spec"]
        if spec.get("hostNetwork") or spec.get("hostPID") or spec.get("hostIPC"):
            yield f"{name}: shares a namespace with its host"
        for item in spec["containers"]:
            yield from _security(f"{name}/{item['name']}", item.get("securityContext", {}))
            yield from _resources(f"{name}/{item['name']}", item.get("resources", {}))
            yield from _image(f"{name}/{item['name']}", item["image"])
            # What only prints is asked nothing.
            if item["name"] != "logs":
                yield from _probes(f"{name}/{item['name']}", item)
            yield from _secrets(f"{name}/{item['name']}", item.get("env", []))
    options = ray_service(documents)["spec"]["rayClusterConfig"]["autoscalerOptions"]
    yield from _security("autoscaler", options.get("securityContext", {}))
    yield from _resources("autoscaler", options.get("resources", {}))
    for document in documents:
        if document["kind"] == "Secret":
            yield f"the secret {document['metadata']['name']} is in the manifests"


def _security(name: str, context: Mapping[str, Any]) -> Iterator[str]:
    for key, wanted in RESTRICTED.items():
        if context.get(key) != wanted:
            yield f"{name}: securityContext.{key} must be {wanted}"


def _resources(name: str, resources: Mapping[str, Any]) -> Iterator[str]:
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for key in ("cpu", "memory"):
        if key not in requests or key not in limits:
            yield f"{name}: asks for no {key} or has no limit"
    if requests.get("memory") != limits.get("memory"):
        yield f"{name}: memory requested and limited differ, so it is killed first"


def _image(name: str, image: str) -> Iterator[str]:
    tag = image.rpartition("/")[2].partition(":")[2]
    if "@sha256:" not in image and tag in ("", "latest"):
        yield f"{name}: image {image} is not pinned"


def _probes(name: str, item: Document) -> Iterator[str]:
    ports = {port["name"] for port in item["ports"]}
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = item.get(kind)
        if probe is None:
            yield f"{name}: has no {kind}; KubeRay's own runs wget, which the image lacks"
        elif "httpGet" not in probe:
            yield f"{name}: {kind} must ask by HTTP"
        elif probe["httpGet"]["path"] not in HEALTH_PATHS or probe["httpGet"]["port"] not in ports:
            yield f"{name}: {kind} asks {probe['httpGet']}, which nothing answers"
    if item["name"] == "ray-worker":
        ready = item.get("readinessProbe", {}).get("httpGet", {})
        if ready.get("path") != "/-/healthz":
            yield f"{name}: must be ready by HAProxy's word, else it gets requests too early"


def _secrets(name: str, env: list[Document]) -> Iterator[str]:
    for item in env:
        value = item.get("value", "")
        secret = SECRET_NAME.search(item["name"]) and not item["name"].endswith("_DIR")
        if secret and value and not value.startswith("sqlite:"):
            yield f"{name}: {item['name']} is written out"
        if item["name"].startswith("MLOPS_") and "secretKeyRef" in item.get("valueFrom", {}):
            yield f"{name}: {item['name']} is in every process's environment"
        if re.search(r"://[^/\s]*:[^/\s]*@", value):
            yield f"{name}: {item['name']} holds a password"


def selector_problems(documents: list[Document]) -> Iterator[str]:
    """Budgets, policies, monitors and services that select nothing, or choke a node."""
    labels = [template["metadata"]["labels"] for template in pods(documents).values()]
    for document in documents:
        kind, spec = document["kind"], document.get("spec", {})
        if kind not in SELECTOR:
            continue
        name = f"{kind}/{document['metadata']['name']}"
        selector = spec[SELECTOR[kind]]
        chosen = selector if kind == "Service" else selector.get("matchLabels", {})
        if not any(chosen.items() <= set_of.items() for set_of in labels):
            yield f"{name}: selects no pod"
        if kind == "PodDisruptionBudget":
            if ("minAvailable" in spec) == ("maxUnavailable" in spec):
                yield f"{name}: needs one of minAvailable and maxUnavailable"
            if spec.get("maxUnavailable") in (0, "0%"):
                yield f"{name}: lets no node be drained"
    yield from _accounts(documents)


def _accounts(documents: list[Document]) -> Iterator[str]:
    accounts = {item["metadata"]["name"] for item in documents if item["kind"] == "ServiceAccount"}
    for name, template in pods(documents).items():
        if template["spec"].get("serviceAccountName") not in accounts:
            yield f"{name}: its service account is not in the chart"


def network_problems(documents: list[Document]) -> Iterator[str]:
    """Policies that are open to the world, or close what the cluster needs."""
    policies = [item for item in documents if item["kind"] == "NetworkPolicy"]
    for policy in policies:
        for rule in policy["spec"].get("ingress", []) + policy["spec"].get("egress", []):
            for peer in rule.get("from", []) + rule.get("to", []):
                if peer.get("ipBlock", {}).get("cidr", "").endswith("/0"):
                    yield f"{policy['metadata']['name']}: is open to the internet"
            if not rule.get("from", True) or not rule.get("to", True):
                yield f"{policy['metadata']['name']}: an empty peer list means everybody"
    for name, template in pods(documents).items():
        labels = template["metadata"]["labels"]
        covering = [
            policy["spec"]
            for policy in policies
            if policy["spec"]["podSelector"].get("matchLabels", {}).items() <= labels.items()
        ]
        if {kind for spec in covering for kind in spec["policyTypes"]} != {"Ingress", "Egress"}:
            yield f"{name}: no policy says who may reach it and what it may reach"
            continue
        egress = [rule for spec in covering for rule in spec.get("egress", [])]
        if not any({"protocol": "UDP", "port": 53} in rule["ports"] for rule in egress):
            yield f"{name}: cannot ask for a name"
        if name.startswith("ray "):
            rules = [rule for spec in covering for rule in spec.get("ingress", [])]
            yield from _reachable(name, groups(documents)[name[4:]], rules, labels)


def _reachable(
    name: str, group: Document, rules: list[Document], labels: Mapping[str, str]
) -> Iterator[str]:
    environment, parameters = variables(group), group["rayStartParams"]
    wanted = {
        (
            int(environment[f"{prefix}_MIN_{kind}_PORT"]),
            int(environment[f"{prefix}_MAX_{kind}_PORT"]),
        )
        for prefix in ("RAY_SERVE_DIRECT_INGRESS",)
        for kind in ("HTTP", "GRPC")
    }
    wanted.add((int(parameters["min-worker-port"]), int(parameters["max-worker-port"])))
    wanted.add((32_768, 60_999))
    wanted |= {(int(parameters[key]),) * 2 for key in ("node-manager-port", "object-manager-port")}
    wanted |= {(port["containerPort"],) * 2 for port in container(group)["ports"]}
    open_ports = [
        (port["port"], port.get("endPort", port["port"]))
        for rule in rules
        if any(_is_peer(peer, labels) for peer in rule["from"])
        for port in rule["ports"]
    ]
    monitored = [(port["port"],) * 2 for rule in rules for port in rule["ports"]]
    for low, high in sorted(wanted):
        if not any(a <= low and high <= b for a, b in [*open_ports, *monitored]):
            yield f"{name}: ports {low} to {high} are closed between the pods"


def _is_peer(peer: Document, labels: Mapping[str, str]) -> bool:
    chosen = peer.get("podSelector", {}).get("matchLabels")
    return bool(chosen) and chosen.items() <= labels.items()


def monitor_problems(documents: list[Document]) -> Iterator[str]:
    """Monitors that ask ports that none of their pods has."""
    for document in documents:
        if document["kind"] != "PodMonitor":
            continue
        chosen = document["spec"]["selector"]["matchLabels"].items()
        ports = {
            port["name"]
            for template in pods(documents).values()
            if chosen <= template["metadata"]["labels"].items()
            for item in template["spec"]["containers"]
            for port in item["ports"]
        }
        for endpoint in document["spec"]["podMetricsEndpoints"]:
            if endpoint["port"] not in ports:
                yield f"PodMonitor: no pod has a port called {endpoint['port']}"
