"""`sentigraph doctor --production`: what a public server lacks is named."""

from typing import Any

import pytest
import yaml

from configs.load import load_config
from operations.doctor.findings import Finding
from operations.doctor.production import check_manifests, check_production
from operations.lint import BUILDER

CPU = ["CPUExecutionProvider"]
CUDA = ["CUDAExecutionProvider", *CPU]
SERVED = {"access": {"api_key": "an-Api-key-1", "required": True}}
INGRESS = {"kind": "Ingress", "metadata": {"name": "in"}, "spec": {"tls": [{"hosts": ["h"]}]}}


def failed(found: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.said for finding in found if finding.level == "FAIL"}


def judged(args: dict[str, Any], providers: list[str] = CPU) -> dict[str, str]:
    return failed(list(check_production(load_config(args, environ={}), providers)))


def test_a_server_with_keys_on_the_cpu_lacks_nothing() -> None:
    assert judged(SERVED) == {}


@pytest.mark.parametrize(
    ("args", "check", "said"),
    [
        ({"access": {}}, "access", "anybody"),
        (
            {
                "model": {"provider": "cuda"},
                "replicas": {"model": {"num_replicas": 1, "num_gpus": 1}},
            },
            "provider",
            "model.provider=cuda, and onnxruntime here has CPUExecutionProvider",
        ),
        ({"cache": {"l2": "redis"}, "redis": {"host": "r.internal"}}, "TLS", "redis.tls=False"),
        ({"stream": {"enabled": True}}, "TLS", "stream.security_protocol=PLAINTEXT"),
        (
            {
                "access": {
                    "required": True,
                    "jwt": {"jwks": "http://id.internal/keys", "issuer": "i", "audience": "a"},
                }
            },
            "TLS",
            "access.jwt.jwks=http://id.internal",
        ),
        (
            {"vault": {"enabled": True, "address": "http://v.internal:8200", "token": "s.x"}},
            "TLS",
            "vault.address=http://v.internal",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_missing_is_a_failure(args: dict[str, Any], check: str, said: str) -> None:
    assert said in judged({**SERVED, **args})[check]


def test_cuda_is_well_where_the_engine_has_it() -> None:
    cuda = {
        "model": {"provider": "cuda"},
        "replicas": {"model": {"num_replicas": 1, "num_gpus": 1}},
    }
    assert "provider" not in judged(SERVED | cuda, CUDA)


def manifests(
    args: dict[str, Any], image: str = "r/sentigraph:1", *, entrance: dict[str, Any] = INGRESS
) -> dict[str, str]:
    group = {"template": {"spec": {"containers": [{"image": image}]}}}
    service = {
        "kind": "RayService",
        "metadata": {"name": "s"},
        "spec": {"rayClusterConfig": {"headGroupSpec": group}},
    }
    config = {"applications": [{"import_path": BUILDER, "args": args}]}
    keys = {"s/head": {"MLOPS_ACCESS__API_KEYS": "from a secret"}}
    documents = [service, entrance, None]
    return failed(list(check_manifests(documents, {"s": yaml.safe_dump(config)}, keys)))


def test_manifests_of_a_public_profile_lack_nothing() -> None:
    assert manifests({"profile": "production"}) == {}


def test_open_access_a_foreign_provider_and_plain_http_are_found_in_manifests() -> None:
    assert "access" in manifests({"profile": "development"})
    assert "access" in manifests({"profile": "production", "access": {"required": False}})
    cuda = {"profile": "production", "model": {"provider": "cuda"}} | {
        "replicas": {"model": {"num_replicas": 1, "num_gpus": 1}}
    }
    assert "image" in manifests(cuda)
    assert "image" in manifests(cuda, "r.example.com:5000/team/sentigraph@sha256:00")
    assert manifests(cuda, "r/sentigraph-gpu:1") == {}
    plain = INGRESS | {"spec": {}}
    assert manifests({"profile": "production"}, entrance=plain)["TLS"] == "plain: Ingress/in"
    gateway: dict[str, Any] = {"kind": "Gateway", "metadata": {"name": "g"}}
    for protocol, expected in (("HTTPS", {}), ("HTTP", {"TLS": "plain: Gateway/g"})):
        entrance = gateway | {"spec": {"listeners": [{"protocol": protocol}]}}
        assert manifests({"profile": "production"}, entrance=entrance) == expected
