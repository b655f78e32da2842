"""Facts of the servers that a configuration names, asked once each; nothing is judged here.

Each answer is bounded in time. A server that does not answer is a fact too.
"""

import email.utils
import time
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import redis
from kafka import KafkaConsumer
from kafka.errors import KafkaError
from redis.backoff import NoBackoff
from redis.retry import Retry

from configs.errors import SecretsError
from configs.schema.app import AppConfig
from configs.schema.dependencies import RedisConfig
from configs.schema.stream import StreamConfig
from configs.sources.vault import VaultSecrets, secret_names
from deployments.stream import client_options
from operations.doctor.facts import Kafka, Mlflow, Redis, Running
from operations.errors import ServerAway, ServerRefused
from operations.http_client import fetch
from operations.server_client import Server
from registry.backend.sqlite_setup import sqlite_file
from registry.bundles.bundle import open_bundle
from registry.errors import RegistryError

_TIMEOUT_S = 5.0


def ask_redis(config: RedisConfig) -> Redis:
    """Version and memory policy."""
    client = redis.Redis(
        host=config.host,
        port=config.port,
        db=config.db,
        username=config.username or None,
        password=config.password.get_secret_value() or None,
        ssl=config.tls,
        ssl_ca_certs=config.tls_ca_file or None,
        socket_timeout=config.timeout_ms / 1_000,
        socket_connect_timeout=config.connect_timeout_ms / 1_000,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )
    try:
        with client:
            server, memory = client.info("server"), client.info("memory")
    except (redis.RedisError, OSError) as error:
        return Redis(error=f"{type(error).__name__} at {config.host}:{config.port}")
    return Redis(
        version=str(server["redis_version"]),
        max_bytes=int(memory.get("maxmemory", 0)),
        policy=str(memory.get("maxmemory_policy", "")),
    )


def ask_kafka(config: StreamConfig) -> Kafka:
    """The topics of ours that exist, with their partitions."""
    where = ", ".join(config.bootstrap_servers)
    try:
        client_options.reach(config)
        consumer = KafkaConsumer(**client_options.connection(config))
        try:
            names = (config.requests_topic, config.responses_topic, config.dlq_topic)
            # Asking for one by name would make it, where brokers make topics by themselves.
            there = consumer.topics() & set(names)
            found = {name: consumer.partitions_for_topic(name) or () for name in there}
        finally:
            consumer.close(autocommit=False)
    except (KafkaError, OSError) as error:
        return Kafka(error=f"{type(error).__name__} at {where}")
    return Kafka(partitions={name: len(partitions) for name, partitions in found.items()})


def ask_mlflow(tracking_uri: str) -> Mlflow:
    """The server's version, or whether the database file can be there."""
    client = version("mlflow")
    file = sqlite_file(tracking_uri)
    if file is not None:
        existing = next(path for path in file.parents if path.exists())
        if not existing.is_dir():
            return Mlflow(error=f"{existing} is no folder", client=client)
        return Mlflow(client=client)
    if not tracking_uri.startswith("http"):
        return Mlflow(client=client)
    where = _without_login(tracking_uri)
    found = fetch(f"{tracking_uri.rstrip('/')}/version", _TIMEOUT_S)
    if found is None:
        return Mlflow(error=f"no answer at {where}", client=client)
    if not found.is_success:
        return Mlflow(error=f"{where} answered {found.status_code}", client=client)
    return Mlflow(version=found.text[:64].strip(), client=client)


def ask_vault(config: AppConfig) -> str:
    """Why secrets cannot be read; empty when they can."""
    try:
        VaultSecrets(config.vault).read(secret_names())
    except SecretsError as error:
        return str(error)
    return ""


def ask_server(server: Server) -> Running | None:
    """What it says of its dependencies; None when it does not answer."""
    try:
        found = server.ask("GET", "/api/v1/health/details")
    except ServerRefused as refused:
        return Running({}, str(refused))
    except ServerAway:
        return None
    return Running(
        {each["component_name"]: each["details"]["error"] or "ok" for each in found["dependencies"]}
    )


def clock_ahead_s(url: str) -> float | None:
    """Seconds that this clock is ahead of a server's; None when it tells no time."""
    found = fetch(url, _TIMEOUT_S)
    said = None if found is None else found.headers.get("date")
    now = time.time()
    try:
        return now - email.utils.parsedate_to_datetime(said).timestamp() if said else None
    except ValueError:
        return None


def look_at_bundle(directory: str) -> tuple[str, str, int]:
    """Digest of the bundled model, what is wrong with it, and its bytes."""
    try:
        bundle = open_bundle(Path(directory))
    except RegistryError as error:
        return "", str(error), 0
    return bundle.digest, "", sum((Path(directory) / name).stat().st_size for name in bundle.files)


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port}"
