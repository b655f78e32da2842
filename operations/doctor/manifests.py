"""Kubernetes manifests: the settings of their Ray pods, compared, and their Serve configs. Pure.

Takes what ``helm template`` renders (a RayService or RayCluster) and what ``kubectl get pods
--output yaml`` prints of running ones.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from configs.sources.secret_files import SECRETS_VARIABLE
from operations.doctor.findings import Finding, fail, ok, warn
from operations.lint import PAIR

_SETTINGS = ("RAY_", "MLOPS_", "OMP_", "SENTIGRAPH_", "PROFILE")
_HIDDEN = "from a secret"
_CONTAINERS = ("ray-head", "ray-worker")
# KubeRay gives these to each pod, and they are rightly different.
_OF_THE_POD = (
    "RAY_CLOUD_INSTANCE_ID",
    "RAY_NODE_TYPE_NAME",
    "RAY_ADDRESS",
    "RAY_PORT",
    "RAY_IP",
    "RAY_DASHBOARD_ENABLE_K8S_DISK_USAGE",
    "RAY_TIMEOUT_MS_TASK_WAIT_FOR_DEATH_INFO",
    "RAY_GCS_SERVER_REQUEST_TIMEOUT_SECONDS",
    "RAY_INTERNAL_HEALTH_CHECK",
    "RAY_external_storage_namespace",
    "RAY_REDIS_ADDRESS",
)


def environments(documents: Iterable[object]) -> dict[str, dict[str, str]]:
    """Pod or group → its Ray container's settings: variables, and files of mounted secrets."""
    found: dict[str, dict[str, str]] = {}
    for document in documents:
        if not isinstance(document, Mapping):
            continue
        kind, name = document.get("kind"), str(document.get("metadata", {}).get("name", "?"))
        if kind in ("List", "PodList"):
            found |= environments(document.get("items") or ())
        elif kind == "RayService":
            found |= _groups(name, document["spec"]["rayClusterConfig"])
        elif kind == "RayCluster":
            found |= _groups(name, document["spec"])
        elif kind == "Pod":
            settings = _settings(document["spec"])
            if settings is not None:
                found[name] = settings
    return found


def serve_configs(documents: Iterable[object]) -> dict[str, str]:
    """RayService → its Serve config."""
    found: dict[str, str] = {}
    for document in documents:
        if isinstance(document, Mapping):
            if document.get("kind") in ("List", "RayServiceList"):
                found |= serve_configs(document.get("items") or ())
            elif document.get("kind") == "RayService":
                name = str(document.get("metadata", {}).get("name", "?"))
                found[name] = str(document["spec"].get("serveConfigV2", ""))
    return found


def check_environments(found: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
    """Every pod must have what the first has: Ray Serve reads its settings in each process."""
    if not found:
        yield warn(
            "environment", "the manifests hold no Ray pod", "give what helm template renders"
        )
        return
    first, *others = found
    advice = "set it once for all pods (`environment` in the chart's values)"
    differing = False
    for other in others:
        names = {name for name, _ in found[first].items() ^ found[other].items()}
        for name in sorted(names):
            differing = True
            values = [found[pod].get(name, "unset") for pod in (first, other)]
            said = f"{name} is {values[0]} in {first} and {values[1]} in {other}"
            yield fail("environment", said, advice)
    for pod, settings in found.items():
        on = [name for name in PAIR if settings.get(name) == "1"]
        if len(on) != len(PAIR):
            differing = True
            said = f"{pod}: {' and '.join(PAIR)} are not both 1"
            yield fail("environment", said, "one alone serves slower than neither")
    if not differing:
        yield ok("environment", f"{len(found)} pods or groups have the same settings")


def _groups(name: str, cluster: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    templates = {"head": cluster["headGroupSpec"]["template"]}
    for group in cluster.get("workerGroupSpecs", ()):
        templates[group["groupName"]] = group["template"]
    found = {group: _settings(template["spec"]) for group, template in templates.items()}
    return {f"{name}/{group}": env for group, env in found.items() if env is not None}


def _settings(pod: Mapping[str, Any]) -> dict[str, str] | None:
    for container in pod.get("containers", ()):
        if container["name"] in _CONTAINERS:
            found = {
                item["name"]: str(item.get("value", _HIDDEN))
                for item in container.get("env") or ()
                if item["name"].startswith(_SETTINGS) and item["name"] not in _OF_THE_POD
            }
            return found | dict.fromkeys(_files(pod, container, found), _HIDDEN)
    return None


def _files(
    pod: Mapping[str, Any], container: Mapping[str, Any], variables: Mapping[str, str]
) -> Iterator[str]:
    """Settings that are files of a mounted secret, where the application looks for them."""
    secrets = {
        each["name"]: each["secret"] for each in pod.get("volumes") or () if "secret" in each
    }
    for mount in container.get("volumeMounts") or ():
        if mount["mountPath"] == variables.get(SECRETS_VARIABLE):
            items = secrets.get(mount["name"], {}).get("items") or ()
            yield from (item["path"] for item in items if item["path"].startswith(_SETTINGS))
