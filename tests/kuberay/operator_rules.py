"""What KubeRay and Ray Serve would trip over at run time, and no schema says.

Each rule takes the rendered manifests and yields a sentence for what is wrong.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from manifests import ROOT, Document

from operations.lint import lint

# Ports that the kernel gives to whoever asks for any.
EPHEMERAL = range(32_768, 61_000)
HAPROXY_HARD_STOP_S = 120
PAIR = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}


def ray_service(documents: list[Document]) -> Document:
    """The only RayService."""
    [service] = [document for document in documents if document["kind"] == "RayService"]
    return service


def groups(documents: list[Document]) -> dict[str, Document]:
    """Head and worker groups by name."""
    cluster = ray_service(documents)["spec"]["rayClusterConfig"]
    workers = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    return {"head": cluster["headGroupSpec"], **workers}


def container(group: Document) -> Document:
    """The Ray container of a group's pod."""
    first: Document = group["template"]["spec"]["containers"][0]
    return first


def variables(group: Document) -> dict[str, str]:
    """The plain environment of a group's Ray container."""
    return {item["name"]: item.get("value", "") for item in container(group)["env"]}


def secret_files(group: Document) -> dict[str, tuple[str, str]]:
    """File → secret and key, in the folder where a group's Ray container looks for settings."""
    folder = variables(group).get("SENTIGRAPH_SECRETS_DIR")
    mounted = {m["name"] for m in container(group)["volumeMounts"] if m["mountPath"] == folder}
    return {
        item["path"]: (volume["secret"]["secretName"], item["key"])
        for volume in group["template"]["spec"]["volumes"]
        if volume["name"] in mounted
        for item in volume["secret"]["items"]
    }


def serve_config(documents: list[Document]) -> Document:
    """What ``serveConfigV2`` holds."""
    config: Document = yaml.safe_load(ray_service(documents)["spec"]["serveConfigV2"])
    return config


def lint_problems(documents: list[Document]) -> Iterator[str]:
    """Our strict lint, which holds Ray's own schema."""
    text = ray_service(documents)["spec"]["serveConfigV2"]
    for problem in lint(text, Path("/nonexistent")):
        yield f"serveConfigV2: {problem.path} {problem.message}"


def cluster_problems(documents: list[Document]) -> Iterator[str]:
    """Operator checks on the RayService itself."""
    service = ray_service(documents)
    spec, cluster = service["spec"], service["spec"]["rayClusterConfig"]
    name = service["metadata"]["name"]
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) or len(name) > 47:
        yield f"{name} is no DNS-1035 label of at most 47 characters, which KubeRay lengthens"
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    [pinned] = re.findall(r"(?m)^ray(?:\[.*\])?==(\S+)$", constraints)
    if cluster["rayVersion"] != pinned:
        yield f"rayVersion {cluster['rayVersion']} is not the image's {pinned}"
    if cluster.get("authOptions", {}).get("mode") != "token":
        yield "without authOptions.mode=token anyone in the network can submit jobs"
    if not spec.get("excludeHeadPodFromServeSvc"):
        yield "the head would be an endpoint, and it runs no replica"
    if cluster["headGroupSpec"]["rayStartParams"].get("num-cpus") != "0":
        yield "the head would run replicas: num-cpus must be 0"
    options = cluster.get("autoscalerOptions", {})
    if not cluster.get("enableInTreeAutoscaling") or options.get("version") != "v2":
        yield "autoscaler version 2 must be on"
    yield from _upgrade(spec)
    yield from _fault_tolerance(documents)


def _upgrade(spec: Document) -> Iterator[str]:
    strategy = spec["upgradeStrategy"]
    options = strategy.get("clusterUpgradeOptions")
    if strategy["type"] == "NewClusterWithIncrementalUpgrade":
        if options["stepSizePercent"] > options["maxSurgePercent"]:
            yield "stepSizePercent is above maxSurgePercent"
    elif options:
        yield f"clusterUpgradeOptions do nothing with {strategy['type']}"


def _fault_tolerance(documents: list[Document]) -> Iterator[str]:
    service = ray_service(documents)
    options = service["spec"]["rayClusterConfig"].get("gcsFaultToleranceOptions")
    if "ray.io/ft-enabled" in service["metadata"].get("annotations", {}):
        yield "the annotation ray.io/ft-enabled contradicts gcsFaultToleranceOptions"
    for name, group in groups(documents).items():
        for variable in ("RAY_REDIS_ADDRESS", "REDIS_PASSWORD"):
            if variable in variables(group):
                yield f"{name} sets {variable}, which belongs to gcsFaultToleranceOptions"
    if options is not None and "valueFrom" not in options.get("redisPassword", {}):
        yield "the Redis password must come from a secret"


def group_problems(documents: list[Document]) -> Iterator[str]:
    """Bounds, environment and ports of head and workers."""
    all_groups = groups(documents)
    head = variables(all_groups["head"])
    for name, group in all_groups.items():
        pod, mine = group["template"]["spec"], variables(group)
        if name != "head":
            low, now, high = (group[key] for key in ("minReplicas", "replicas", "maxReplicas"))
            if not low <= now <= high:
                yield f"{name}: minReplicas {low}, replicas {now}, maxReplicas {high} disagree"
        if pod.get("restartPolicy", "Never") != "Never":
            yield f"{name}: autoscaler version 2 needs restartPolicy Never"
        if pod.get("terminationGracePeriodSeconds", 30) <= HAPROXY_HARD_STOP_S:
            yield f"{name}: is killed before HAProxy's hard stop of {HAPROXY_HARD_STOP_S} s"
        if mine != head:
            differing = sorted(dict(mine.items() ^ head.items()))
            yield f"{name}: environment differs from the head's in {', '.join(differing)}"
        if mine | PAIR != mine:
            yield f"{name}: HAProxy and throughput mode must both be on"
        yield from _ports(name, group)


def _ports(name: str, group: Document) -> Iterator[str]:
    parameters, environment = group["rayStartParams"], variables(group)
    ranges = {
        "workers": (int(parameters["min-worker-port"]), int(parameters["max-worker-port"])),
        **{
            f"replicas {kind}": (
                int(environment[f"RAY_SERVE_DIRECT_INGRESS_MIN_{kind}_PORT"]),
                int(environment[f"RAY_SERVE_DIRECT_INGRESS_MAX_{kind}_PORT"]),
            )
            for kind in ("HTTP", "GRPC")
        },
    }
    singles = {key: int(value) for key, value in parameters.items() if key.endswith("-port")}
    ranges |= {
        key: (port, port)
        for key, port in singles.items()
        if key not in ("min-worker-port", "max-worker-port")
    }
    ordered = sorted(ranges.items(), key=lambda item: item[1])
    for (one, (_, end)), (two, (start, _)) in pairwise(ordered):
        if start <= end:
            yield f"{name}: ports of {one} and {two} overlap at {start}"
    for kind, (start, end) in ranges.items():
        if kind.startswith(("workers", "replicas")) and end >= EPHEMERAL.start:
            yield f"{name}: ports of {kind} ({start} to {end}) reach into the ephemeral ones"


def placement_problems(documents: list[Document]) -> Iterator[str]:
    """Whether what the graph reserves fits into the pods that may exist."""
    config = serve_config(documents)
    args = config["applications"][0]["args"]
    sizes = args.get("replicas", {})
    model = sizes.get("model", {})
    if config["http_options"]["host"] != "0.0.0.0":
        yield "http_options.host must be 0.0.0.0: probes and clients come from other pods"
    if model.get("num_replicas", 0) == 0 or args.get("model", {}).get("intra_op_threads", 0) == 0:
        yield "model replicas and their threads must be named: cores of the node that builds differ"
    if args.get("model", {}).get("intra_op_threads", 0) > max(1, model.get("num_cpus", 0.5)):
        yield "model.intra_op_threads is above the cores that a model replica reserves"
    workers = [group for name, group in groups(documents).items() if name != "head"]
    yield from _gpus(model, workers)
    cpus = sum(_replicas(size) * size.get("num_cpus", 0.1) for size in sizes.values())
    most = sum(group["maxReplicas"] * _cores(group) for group in workers)
    if cpus > most:
        yield f"the graph reserves {cpus:g} CPUs, and the groups may grow to {most:g}"


def _gpus(model: Document, workers: list[Document]) -> Iterator[str]:
    share, count = model.get("num_gpus", 0), _replicas(model)
    cards = [(_cards(group), group) for group in workers if _cards(group)]
    if share and not cards:
        yield f"model replicas reserve {share:g} GPUs, and no group has any"
    if not share and cards:
        yield "a group has GPUs, and no deployment reserves one"
    if not share or not cards:
        return
    room = 0
    for per_pod, group in cards:
        here = int(per_pod / share) if share > 1 else per_pod * int(1 / share + 1e-9)
        if here * model.get("num_cpus", 0.5) > _cores(group):
            yield f"{group['groupName']}: {here} model replicas need more CPUs than the pod has"
        room += here * group["maxReplicas"]
    if count > room:
        yield f"{count} model replicas at {share:g} GPUs; the groups have room for {room}"


def _replicas(size: Document) -> int:
    return max(1, int(size.get("num_replicas", 1)), int(size.get("max_replicas", 0)))


def _cores(group: Document) -> float:
    text = str(container(group)["resources"]["limits"]["cpu"])
    return float(text[:-1]) / 1_000 if text.endswith("m") else float(text)


def _cards(group: Document) -> int:
    limits: dict[str, Any] = container(group)["resources"]["limits"]
    return int(limits.get("nvidia.com/gpu", 0))
