"""The servers that a configuration names: each is asked once, and its answer judged.

Each question is bounded in time. A server that does not answer is a finding too. The
``judge_*`` functions are pure.
"""

import email.utils
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
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
from operations.clients.http_client import fetch
from operations.clients.server import Server
from operations.doctor.findings import Finding, fail, graded, ok, warn
from operations.errors import ServerAway, ServerRefused
from registry.backend.sqlite_setup import sqlite_file
from registry.bundles.bundle import open_bundle
from registry.errors import RegistryError

_TIMEOUT_S = 5.0
_REDIS = (6, 2)
_SKEW_S, _MUCH_SKEW_S = 5.0, 60.0


def check_redis(config: RedisConfig) -> Iterator[Finding]:
    """Version and memory policy of Redis."""
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
            yield judge_redis({**client.info("server"), **client.info("memory")})
    except (redis.RedisError, OSError) as error:
        said = f"{type(error).__name__} at {config.host}:{config.port}"
        yield fail("Redis", said, "start it, or correct redis.host, redis.port, its login")


def judge_redis(info: Mapping[str, Any]) -> Finding:
    """A cache must be able to drop entries, and its memory must have a bound."""
    number, policy = str(info["redis_version"]), info.get("maxmemory_policy", "")
    most = int(info.get("maxmemory", 0))
    said = f"{number}, maxmemory {most / 1e6:.0f} MB, {policy}"
    if tuple(int(part) for part in number.split(".")[:2]) < _REDIS:
        return fail("Redis", f"version {number}", "sentigraph needs Redis 6.2 or newer")
    if most == 0:
        advice = "set maxmemory and a maxmemory-policy (volatile-lru): it grows until it is killed"
        return warn("Redis", said, advice)
    # Everything of ours expires; Ray's state, where it shares the server, must never leave.
    advice = "set maxmemory-policy volatile-lru: when it is full every write fails"
    return graded("Redis", said, advice, fails=policy == "noeviction")


def check_kafka(config: AppConfig) -> Iterator[Finding]:
    """The three topics, and a partition for each stream replica."""
    stream = config.stream
    try:
        partitions = _partitions(stream)
    except (KafkaError, OSError) as error:
        said = f"{type(error).__name__} at {', '.join(stream.bootstrap_servers)}"
        yield fail("Kafka", said, "start a broker, or correct stream.bootstrap_servers")
        return
    yield from judge_kafka(config, partitions)


def judge_kafka(config: AppConfig, partitions: Mapping[str, int]) -> Iterator[Finding]:
    """Judges the partitions of those of our topics that exist."""
    stream = config.stream
    names = (stream.requests_topic, stream.responses_topic, stream.dlq_topic)
    missing = [name for name in names if name not in partitions]
    if missing:
        advice = "make them: a topic that a broker makes by itself has its default of partitions"
        yield fail("Kafka", f"no topic {', '.join(missing)}", advice)
    size = config.replicas.stream
    most = max(1, size.num_replicas, size.max_replicas)
    has = partitions.get(stream.requests_topic)
    if has is not None and has < most:
        said = f"{stream.requests_topic} has {has} partitions for {most} stream replicas"
        yield warn("Kafka", said, "add partitions: a replica without one reads nothing")
    elif not missing:
        yield ok("Kafka", f"{stream.requests_topic} has {has} partitions")


def _partitions(config: StreamConfig) -> dict[str, int]:
    client_options.reach(config)
    consumer = KafkaConsumer(**client_options.connection(config))
    try:
        names = {config.requests_topic, config.responses_topic, config.dlq_topic}
        # Asking for one by name would make it, where brokers make topics by themselves.
        found = consumer.topics() & names
        return {name: len(consumer.partitions_for_topic(name) or ()) for name in found}
    finally:
        consumer.close(autocommit=False)


def check_mlflow(tracking_uri: str) -> Iterator[Finding]:
    """Whether MLflow can be reached and is of the release that is installed here."""
    advice = "start it, or correct registry.tracking_uri; what serves goes on, changes do not"
    file = sqlite_file(tracking_uri)
    existing = None if file is None else next(path for path in file.parents if path.exists())
    if existing is not None and not existing.is_dir():
        yield fail("MLflow", f"{existing} is no folder", advice)
    elif not tracking_uri.startswith("http"):
        yield ok("MLflow", f"a database, used with MLflow {version('mlflow')}")
    else:
        parts = urlsplit(tracking_uri)
        where = f"{parts.scheme}://{parts.hostname}:{parts.port}"  # without a login
        found = fetch(f"{tracking_uri.rstrip('/')}/version", _TIMEOUT_S)
        if found is None:
            yield fail("MLflow", f"no answer at {where}", advice)
        elif not found.is_success:
            yield fail("MLflow", f"{where} answered {found.status_code}", advice)
        else:
            yield judge_mlflow(found.text[:64].strip(), version("mlflow"))


def judge_mlflow(server: str, client: str) -> Finding:
    """Both ends must be of the same minor release."""
    if server.split(".")[:2] != client.split(".")[:2]:
        said = f"the server is {server}, the client here {client}"
        return warn("MLflow", said, "use the same release of both")
    return ok("MLflow", f"server {server}, client {client}")


def check_vault(config: AppConfig) -> Iterator[Finding]:
    """Whether the secrets can be read with our own login."""
    try:
        VaultSecrets(config.vault).read(secret_names())
        yield ok("Vault", "secrets can be read")
    except SecretsError as error:
        yield judge_vault(config, str(error))


def judge_vault(config: AppConfig, error: str) -> Finding:
    """Without Vault a production system does not start."""
    advice = "correct vault.address and the login, or unseal it"
    if config.profile == "production":
        return fail("Vault", f"{error}; in production nothing starts without", advice)
    return warn("Vault", f"{error}; lower sources stand in", advice)


def check_bundle(directory: str) -> tuple[Finding, int]:
    """The bundled model, every file against its digest; and its bytes, 0 where it is damaged."""
    try:
        bundle = open_bundle(Path(directory))
    except RegistryError as error:
        advice = "bring the folder back (git checkout), or set registry.bundled_model_dir"
        return fail("bundle", str(error), advice), 0
    said = f"{directory}: {bundle.digest[:12]}, every file as recorded"
    return ok("bundle", said), sum((Path(directory) / name).stat().st_size for name in bundle.files)


def check_clock(url: str, of: str) -> Iterator[Finding]:
    """Whether this clock agrees with that of the server at ``url``."""
    found = fetch(url, _TIMEOUT_S)
    said = "" if found is None else found.headers.get("date", "")
    now = time.time()
    try:
        ahead_s = now - email.utils.parsedate_to_datetime(said).timestamp()
    except ValueError:
        yield warn("clock", "no server tells the time", "run it while the server or MLflow answers")
    else:
        yield judge_clock(ahead_s, of)


def judge_clock(ahead_s: float, of: str) -> Finding:
    """Tokens, leases and message times suppose clocks that agree. A server tells whole seconds."""
    said = f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} {of}"
    if abs(ahead_s) > _MUCH_SKEW_S:
        return fail("clock", said, "let NTP set both clocks: tokens and leases would end wrongly")
    if abs(ahead_s) > _SKEW_S:
        return warn("clock", said, "let NTP set both clocks")
    return ok("clock", f"as {of}'s")


def check_running(server: Server) -> tuple[list[Finding], bool]:
    """What a running server reports of itself, and whether one answers."""
    see = "`sentigraph status` shows"
    try:
        found = server.ask("GET", "/api/v1/health/details")["dependencies"]
    except ServerRefused as refused:
        return [warn("server", str(refused), f"read its log; {see} the last errors")], True
    except ServerAway:
        return [ok("server", f"none answers at {server.url}: checked without it")], False
    states = {each["component_name"]: each["details"]["error"] or "ok" for each in found}
    bad = [
        warn("server", f"{name}: {said}", f"see that dependency; {see} more")
        for name, said in states.items()
        if said != "ok"
    ]
    return bad or [ok("server", f"answers at {server.url}; {', '.join(states)} are well")], True
