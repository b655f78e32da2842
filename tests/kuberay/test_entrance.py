"""What is reachable from outside, by Ingress and by Gateway API: planted mistakes are caught."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import helm_python as helm
import pytest
from entrance_rules import entrance_problems
from manifests import Document, merged, render, values_of
from operator_rules import ray_service
from rules import all_problems

from deployments.access.roles import RULES

pytestmark = pytest.mark.slow
GRPC = "inference.GRPCInferenceService"


@pytest.fixture(scope="module")
def staging() -> list[Document]:
    return render(values_of("staging"))


@pytest.fixture(scope="module")
def production() -> list[Document]:
    return render(values_of("production"))


def find(documents: list[Document], kind: str) -> Document:
    return next(document for document in documents if document["kind"] == kind)


def paths(documents: list[Document]) -> set[str]:
    found = set()
    for document in documents:
        if document["kind"] == "Ingress":
            found |= {each["path"] for each in document["spec"]["rules"][0]["http"]["paths"]}
        if document["kind"] == "HTTPRoute":
            for rule in document["spec"]["rules"]:
                found |= {match["path"]["value"] for match in rule["matches"]}
        if document["kind"] == "GRPCRoute":
            [rule] = document["spec"]["rules"]
            found |= {f"/{match['method']['service']}" for match in rule["matches"]}
    return found


def test_every_public_route_and_grpc_are_reachable_both_ways(
    staging: list[Document], production: list[Document]
) -> None:
    public = {path for path, (need, _) in RULES.items() if need in ("predict", "health")}
    assert paths(staging) == paths(production)
    # By what is below: /v2/health is below /v2.
    assert {path for path in public if not any(path.startswith(p) for p in paths(staging))} == set()
    assert f"/{GRPC}" in paths(staging)


def test_no_request_takes_for_ever(production: list[Document]) -> None:
    rules = find(production, "HTTPRoute")["spec"]["rules"]
    assert {rule["timeouts"]["request"] for rule in rules} == {"600s"}


def test_the_registry_is_public_only_where_asked_for() -> None:
    for environment in ("staging", "production"):
        values = merged(values_of(environment), {"routes": {"registry": True}})
        documents = render(values)
        assert "/api/v1/models" in paths(documents)
        assert any("registry-read and is public" in one for one in entrance_problems(documents))


def test_the_certificate_comes_from_cert_manager(production: list[Document]) -> None:
    gateway = find(production, "Gateway")
    assert "cert-manager.io/cluster-issuer" in gateway["metadata"]["annotations"]
    [listener] = gateway["spec"]["listeners"]
    assert listener["tls"]["certificateRefs"] == [{"kind": "Secret", "name": "sentigraph-tls"}]
    # KubeRay's own Gateway stands between: it splits the traffic during an upgrade.
    [backend, *_] = find(production, "HTTPRoute")["spec"]["rules"][0]["backendRefs"]
    assert backend["name"] == f"{ray_service(production)['metadata']['name']}-gateway-istio"


PLANTED: dict[str, tuple[str, Callable[[Document], object], str]] = {
    "plain HTTP": ("Gateway", lambda s: s["listeners"][0].update(protocol="HTTP"), "has no TLS"),
    "no certificate": ("Gateway", lambda s: s["listeners"][0].pop("tls"), "has no TLS"),
    "another parent": ("HTTPRoute", lambda s: s["parentRefs"][0].update(name="g"), "its parent"),
    "registry": (
        "HTTPRoute",
        lambda s: s["rules"][0]["matches"][0]["path"].update(value="/api/v1/models"),
        "needs registry-read and is public",
    ),
    "everything": (
        "HTTPRoute",
        lambda s: s["rules"][0]["matches"][0]["path"].update(value="/api"),
        "needs admin and is public",
    ),
    "metrics": (
        "HTTPRoute",
        lambda s: s["rules"][0]["matches"][0]["path"].update(value="/metrics"),
        "needs metrics and is public",
    ),
    "no such Service": (
        "GRPCRoute",
        lambda s: s["rules"][0]["backendRefs"][0].update(name="sentigraph-grcp"),
        "which is not there",
    ),
    "misspelt field": ("GRPCRoute", lambda s: s.update(hostname=["h"]), "hostname"),
}


@pytest.mark.parametrize("what", sorted(PLANTED))
def test_a_mistake_is_found(what: str, production: list[Document]) -> None:
    kind, plant, said = PLANTED[what]
    documents = deepcopy(production)
    plant(find(documents, kind)["spec"])
    assert any(said in problem for problem in all_problems(documents))


def test_an_ingress_without_tls_is_found(staging: list[Document]) -> None:
    documents = deepcopy(staging)
    find(documents, "Ingress")["spec"].pop("tls")
    assert any("has no TLS" in problem for problem in all_problems(documents))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gateway": {"backend": {"name": ""}}}, "gateway.backend.name is needed"),
        ({"gateway": {"host": ""}}, "gateway.host is needed"),
        ({"gateway": {"tlsSecret": ""}}, "gateway.tlsSecret is needed"),
        ({"gateway": {"paths": ["/"]}}, "paths"),
    ],
)
def test_values_that_would_be_open_or_lead_nowhere_are_refused(
    change: dict[str, Any], said: str
) -> None:
    with pytest.raises((helm.HelmValuesError, helm.HelmRenderError), match=said):
        render(merged(values_of("production"), change))
