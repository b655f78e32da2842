"""Rules for what lies beside the pods: the jobs' store, brokers, receivers, gRPC clients."""

from collections.abc import Iterator

from manifests import Document
from operator_rules import (
    container,
    groups,
    ray_service,
    secret_files,
    serve_config,
    variables,
)

JOBS_DATABASE = "MLOPS_JOBS__DATABASE"
WEBHOOK_HOSTS = "MLOPS_JOBS__WEBHOOK__HOSTS"
SQLITE = "sqlite:////"


def store_problems(documents: list[Document]) -> Iterator[str]:
    """Jobs that would be lost with a pod, or for whose volume two pods would wait."""
    config = serve_config(documents)
    application = config["applications"][0]
    jobs = application["args"].get("jobs", {})
    if not jobs.get("enabled"):
        return
    secret = [JOBS_DATABASE in _names(group) for group in groups(documents).values()]
    if any(secret):
        if not all(secret):
            yield f"{JOBS_DATABASE} is not in every pod"
        return
    mounted = {name: mount for name, group in groups(documents).items() for mount in _claims(group)}
    homes = [name for name, (_, path) in mounted.items() if _below(jobs.get("database", ""), path)]
    if not homes:
        yield f"jobs.database {jobs.get('database', 'by default')} is lost with its pod"
        return
    [home] = homes
    group = groups(documents)[home]
    if group.get("maxReplicas") != 1:
        yield f"{home}: more than one pod would want the jobs' volume"
    claims = {d["metadata"]["name"] for d in documents if d["kind"] == "PersistentVolumeClaim"}
    if mounted[home][0] not in claims:
        yield f"{home}: its claim {mounted[home][0]} is not in the chart"
    if ray_service(documents)["spec"]["upgradeStrategy"]["type"] != "None":
        yield "a second cluster would wait for the jobs' volume for ever"
    places = [d for d in application.get("deployments", []) if d["name"] == "Jobs"]
    wanted = places[0].get("ray_actor_options", {}).get("resources", {}) if places else {}
    offered = group["rayStartParams"].get("resources", "")
    if not wanted or not all(f'\\"{name}\\":' in offered for name in wanted):
        yield "the Jobs replica is not bound to the pod that has the volume"


def reach_problems(documents: list[Document]) -> Iterator[str]:
    """Policies that close what streams, jobs and gRPC clients need."""
    args = serve_config(documents)["applications"][0]["args"]
    stream, jobs = args.get("stream", {}), args.get("jobs", {})
    port = serve_config(documents)["grpc_options"]["port"]
    for name, group in groups(documents).items():
        if name == "head":
            continue
        out = open_ports(documents, group, "egress", "to")
        if stream.get("enabled"):
            servers = stream.get("bootstrap_servers", ["localhost:9092"])
            for server in servers:
                if int(server.rpartition(":")[2]) not in out:
                    yield f"{name}: the way to Kafka at {server} is closed"
        if (jobs.get("webhook", {}).get("hosts") or WEBHOOK_HOSTS in _names(group)) and (
            443 not in out
        ):
            yield f"{name}: the way to receivers of webhooks is closed"
        if jobs.get("enabled") and JOBS_DATABASE in _names(group) and 5432 not in out:
            yield f"{name}: the way to the jobs' database is closed"
        if port not in open_ports(documents, group, "ingress", "from"):
            yield f"{name}: gRPC clients of other namespaces cannot reach port {port}"


def open_ports(documents: list[Document], group: Document, way: str, peer: str) -> set[int]:
    """Single ports that the group's policies open to somebody outside of the release."""
    labels = group["template"]["metadata"]["labels"].items()
    found = set()
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] != "NetworkPolicy":
            continue
        if not spec["podSelector"].get("matchLabels", {}).items() <= labels:
            continue
        for rule in spec.get(way, []):
            if any("ipBlock" in p or "namespaceSelector" in p for p in rule[peer]):
                found |= {item["port"] for item in rule["ports"] if item["protocol"] == "TCP"}
    return found


def _names(group: Document) -> set[str]:
    return variables(group).keys() | secret_files(group).keys()


def _claims(group: Document) -> Iterator[tuple[str, str]]:
    """Claim and mount path of each persistent volume of a group's pod."""
    volumes = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in group["template"]["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    for mount in container(group)["volumeMounts"]:
        if mount["name"] in volumes:
            yield volumes[mount["name"]], mount["mountPath"]


def _below(database: str, path: str) -> bool:
    return database.startswith(SQLITE) and f"/{database.removeprefix(SQLITE)}".startswith(
        f"{path}/"
    )
