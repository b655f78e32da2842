"""What a server that others reach must have: ``sentigraph doctor --production``. Pure.

``check_production`` judges a configuration on the machine that shall serve it, ``check_manifests``
what ``helm template`` renders.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import yaml

from configs.errors import ConfigError
from configs.load import load_config
from configs.schema.app import AppConfig
from operations.doctor.findings import Finding, fail, graded, ok, warn
from operations.lint import BUILDER

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_KEYS = ("MLOPS_ACCESS__API_KEYS", "MLOPS_ACCESS__API_KEY", "MLOPS_API_KEY")
_OPEN = "set access.required and access.api_keys; `sentigraph secrets new NAME` makes a key"
_CPU_IMAGE = "sentigraph"


def check_production(config: AppConfig, providers: Collection[str]) -> Iterator[Finding]:
    """Access control, the engine's provider, and encryption of what leaves the machine.

    Args:
        config: What shall be served.
        providers: Those of the onnxruntime that is installed here.
    """
    open_to_all = "anybody who reaches the server may call it and change the registry"
    said = open_to_all if not config.access.required else "every caller needs a key or token"
    yield graded("access", said, _OPEN, fails=not config.access.required)
    provider = config.model.provider
    missing = provider == "cuda" and "CUDAExecutionProvider" not in providers
    said = f"model.provider={provider}, and onnxruntime here has {', '.join(providers)}"
    advice = "use the image sentigraph-gpu, or install the extra `gpu` in the place of onnxruntime"
    yield graded("provider", said, advice, fails=missing)
    plain = sorted(_unencrypted(config))
    said = f"not encrypted: {', '.join(plain)}" if plain else "every connection that leaves"
    yield graded("TLS", said, "use TLS there; docs/settings.md has the names", fails=bool(plain))
    advice = "let an Ingress or a Gateway end TLS; the chart has both"
    yield warn("TLS", "this server speaks plain HTTP and gRPC, as Ray Serve's HAProxy does", advice)


def _unencrypted(config: AppConfig) -> Iterator[str]:
    """Settings by which something crosses the network in the clear."""
    redis, stream = config.redis, config.stream
    uses_redis = config.cache.l2 == "redis" or config.access.rate_store == "redis"
    if uses_redis and not redis.tls and redis.host not in _LOOPBACK:
        yield "redis.tls=False"
    if stream.enabled and not stream.security_protocol.endswith("SSL"):
        yield f"stream.security_protocol={stream.security_protocol}"
    addresses = {"access.jwt.jwks": config.access.jwt.jwks}
    if config.vault.enabled:
        addresses["vault.address"] = config.vault.address
    for name, address in addresses.items():
        parts = urlsplit(address)
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            yield f"{name}={parts.scheme}://{parts.hostname}"


def check_manifests(
    documents: Iterable[object],
    serve_configs: Mapping[str, str],
    environments: Mapping[str, Mapping[str, str]],
) -> Iterator[Finding]:
    """The same of a rendered chart, and where TLS ends in front of it.

    Args:
        documents: The manifests.
        serve_configs: RayService → its Serve config.
        environments: ``RAYSERVICE/GROUP`` → the variables of its Ray container.
    """
    for service, text in serve_configs.items():
        variables = {
            name
            for pod, settings in environments.items()
            if pod.startswith(f"{service}/")
            for name in settings
        }
        for application in (yaml.safe_load(text) or {}).get("applications", ()):
            if application.get("import_path") == BUILDER:
                args = application.get("args") or {}
                yield _access(service, args, variables)
                cuda = args.get("model", {}).get("provider") == "cuda"
                yield _image(service, cuda, set(_images(documents, service)))
    yield _entrance([each for each in documents if isinstance(each, Mapping)])


def _access(service: str, args: Mapping[str, Any], variables: Collection[str]) -> Finding:
    # A key that is never used lets the other settings be read without the secret.
    stand_in = {"MLOPS_ACCESS__API_KEY": "stand-in-1"}
    try:
        load_config(args, environ=stand_in)
    except ConfigError:
        return fail("access", f"{service}: access.required is false, or args are refused", _OPEN)
    access = args.get("access", {})
    keys = any(name in variables for name in _KEYS)
    if not (keys or access.get("jwt", {}).get("jwks") or args.get("vault", {}).get("enabled")):
        said = f"{service}: access.required, and no pod gets keys"
        return fail("access", said, "name MLOPS_ACCESS__API_KEYS in the chart's secrets.settings")
    return ok("access", f"{service}: every caller needs a key or token")


def _images(documents: Iterable[object], service: str) -> Iterator[str]:
    for document in documents:
        if isinstance(document, Mapping) and document.get("kind") == "RayService":
            cluster = document["spec"]["rayClusterConfig"]
            if document["metadata"]["name"] == service:
                for group in (cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", ())):
                    yield from (each["image"] for each in group["template"]["spec"]["containers"])


def _image(service: str, cuda: bool, images: Collection[str]) -> Finding:
    of_cpus = {
        name for name in images if name.split("@")[0].split("/")[-1].split(":")[0] == _CPU_IMAGE
    }
    said = f"{service}: {', '.join(sorted(images))}"
    advice = "model.provider=cuda needs the Dockerfile's target serve-gpu: set image.repository"
    return graded("image", said, advice, fails=cuda and bool(of_cpus))


def _entrance(documents: Collection[Mapping[str, Any]]) -> Finding:
    advice = "set ingress or gateway in the chart's values, with TLS"
    ways = [each for each in documents if each.get("kind") in ("Ingress", "Gateway")]
    if not ways:
        return warn("TLS", "no Ingress and no Gateway: nothing here ends TLS", advice)
    plain = [
        f"{each['kind']}/{each['metadata']['name']}"
        for each in ways
        if not each["spec"].get("tls")
        and any(one.get("protocol") != "HTTPS" for one in each["spec"].get("listeners", [{}]))
    ]
    said = f"plain: {', '.join(plain)}" if plain else f"ends at {ways[0]['kind']}"
    return graded("TLS", said, advice, fails=bool(plain))
