"""Rules for what is reachable from outside: in the clear, of operators, or leading nowhere."""

from collections.abc import Iterator

from manifests import Document
from operator_rules import ray_service

from deployments.access.roles import needed

PUBLIC_NEEDS = {"predict", "health"}


def entrance_problems(documents: list[Document]) -> Iterator[str]:
    """Every Ingress, Gateway and route."""
    listeners = {
        (document["metadata"]["name"], one["name"])
        for document in documents
        if document["kind"] == "Gateway"
        for one in document["spec"]["listeners"]
    }
    known = {each["metadata"]["name"] for each in documents if each["kind"] == "Service"}
    name = ray_service(documents)["metadata"]["name"]
    # KubeRay's own, and that of the Gateway that it makes.
    known |= {f"{name}-serve-svc", f"{name}-gateway-istio"}
    for document in documents:
        where = f"{document['kind']}/{document.get('metadata', {}).get('name')}"
        yield from _without_tls(where, document)
        for path, backend in _entrances(document):
            if backend not in known:
                yield f"{where}: {path} leads to {backend}, which is not there"
            need = needed("GET", f"{path}/x")
            if path.startswith("/") and need not in PUBLIC_NEEDS:
                yield f"{where}: {path} needs {need} and is public"
        if document["kind"].endswith("Route"):
            for parent in document["spec"]["parentRefs"]:
                if (parent["name"], parent["sectionName"]) not in listeners:
                    yield f"{where}: its parent {parent['name']} is not there"


def _without_tls(where: str, document: Document) -> Iterator[str]:
    if document["kind"] == "Ingress" and not document["spec"].get("tls"):
        yield f"{where}: has no TLS"
    if document["kind"] == "Gateway":
        for one in document["spec"]["listeners"]:
            if one["protocol"] != "HTTPS" or not one.get("tls", {}).get("certificateRefs"):
                yield f"{where}: listener {one['name']} has no TLS"


def _entrances(document: Document) -> Iterator[tuple[str, str]]:
    """Path, or gRPC service without its slash, and backend of each route."""
    if document["kind"] == "Ingress":
        for rule in document["spec"]["rules"]:
            for each in rule["http"]["paths"]:
                path = each["path"].removeprefix("/inference.")
                yield path, each["backend"]["service"]["name"]
    elif document["kind"].endswith("Route"):
        for rule in document["spec"]["rules"]:
            for match in rule["matches"]:
                path = match["path"]["value"] if "path" in match else match["method"]["service"]
                yield from ((path, backend["name"]) for backend in rule["backendRefs"])
