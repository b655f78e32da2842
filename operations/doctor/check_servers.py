"""Facts of the servers beside the graph → findings. Pure."""

from collections.abc import Iterator

from configs.schema.app import AppConfig
from operations.doctor.facts import Kafka, Mlflow, Redis, Running
from operations.doctor.findings import Finding, fail, ok, warn

_REDIS = (6, 2)
_SKEW_S, _MUCH_SKEW_S = 5.0, 60.0


def check_redis(redis: Redis) -> Iterator[Finding]:
    """A cache must be able to forget, and not the machine to run out of memory."""
    if redis.error:
        yield fail("Redis", redis.error, "start it, or correct redis.host, redis.port, its login")
        return
    said = f"{redis.version}, maxmemory {redis.max_bytes / 1e6:.0f} MB, {redis.policy}"
    old = tuple(int(part) for part in redis.version.split(".")[:2]) < _REDIS
    if old:
        yield fail("Redis", f"version {redis.version}", "sentigraph needs Redis 6.2 or newer")
    elif redis.max_bytes == 0:
        advice = "set maxmemory and a maxmemory-policy (volatile-lru): it grows until it is killed"
        yield warn("Redis", said, advice)
    elif redis.policy == "noeviction":
        # Everything of ours expires; Ray's state, where it shares the server, must never leave.
        advice = "set maxmemory-policy volatile-lru: when it is full every write fails"
        yield fail("Redis", said, advice)
    else:
        yield ok("Redis", said)


def check_kafka(config: AppConfig, kafka: Kafka) -> Iterator[Finding]:
    """The three topics, and a partition for each stream replica."""
    if kafka.error or kafka.partitions is None:
        yield fail("Kafka", kafka.error, "start a broker, or correct stream.bootstrap_servers")
        return
    stream = config.stream
    names = (stream.requests_topic, stream.responses_topic, stream.dlq_topic)
    missing = [name for name in names if name not in kafka.partitions]
    if missing:
        advice = "make them: a topic that a broker makes by itself has its default of partitions"
        yield fail("Kafka", f"no topic {', '.join(missing)}", advice)
    size = config.replicas.stream
    most = max(1, size.num_replicas, size.max_replicas)
    partitions = kafka.partitions.get(stream.requests_topic)
    if partitions is not None and partitions < most:
        said = f"{stream.requests_topic} has {partitions} partitions for {most} stream replicas"
        yield warn("Kafka", said, "add partitions: a replica without one reads nothing")
    elif not missing:
        yield ok("Kafka", f"{stream.requests_topic} has {partitions} partitions")


def check_mlflow(mlflow: Mlflow) -> Iterator[Finding]:
    """Reachable, and of the release that is installed here."""
    if mlflow.error:
        advice = "start it, or correct registry.tracking_uri; what serves goes on, changes do not"
        yield fail("MLflow", mlflow.error, advice)
    elif not mlflow.version:
        yield ok("MLflow", f"a database, used with MLflow {mlflow.client}")
    elif mlflow.version.split(".")[:2] != mlflow.client.split(".")[:2]:
        said = f"the server is {mlflow.version}, the client here {mlflow.client}"
        yield warn("MLflow", said, "use the same release of both")
    else:
        yield ok("MLflow", f"server {mlflow.version}, client {mlflow.client}")


def check_vault(config: AppConfig, error: str) -> Iterator[Finding]:
    """Whether the secrets can be read with our own login."""
    if not error:
        yield ok("Vault", "secrets can be read")
        return
    advice = "correct vault.address and the login, or unseal it"
    if config.profile == "production":
        yield fail("Vault", f"{error}; in production nothing starts without", advice)
    else:
        yield warn("Vault", f"{error}; lower sources stand in", advice)


def check_bundle(directory: str, digest: str, error: str) -> Iterator[Finding]:
    """The bundled model, every file against its digest."""
    if error:
        advice = "bring the folder back (git checkout), or set registry.bundled_model_dir"
        yield fail("bundle", error, advice)
    else:
        yield ok("bundle", f"{directory}: {digest[:12]}, every file as recorded")


def check_clock(ahead_s: float | None, of: str) -> Iterator[Finding]:
    """Tokens, leases and message times suppose clocks that agree."""
    if ahead_s is None:
        yield warn("clock", "no server tells the time", "run it while the server or MLflow answers")
        return
    # A server says whole seconds.
    said = f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} {of}"
    if abs(ahead_s) > _MUCH_SKEW_S:
        yield fail("clock", said, "let NTP set both clocks: tokens and leases would end wrongly")
    elif abs(ahead_s) > _SKEW_S:
        yield warn("clock", said, "let NTP set both clocks")
    else:
        yield ok("clock", f"as {of}'s")


def check_running(running: Running | None, url: str) -> Iterator[Finding]:
    """What a running server says of itself."""
    if running is None:
        yield ok("server", f"none answers at {url}: checked without it")
        return
    if running.error:
        yield warn(
            "server", running.error, "read its log; `sentigraph status` shows the last errors"
        )
        return
    bad = {name: said for name, said in running.dependencies.items() if said != "ok"}
    for name, said in bad.items():
        yield warn(
            "server", f"{name}: {said}", "see that dependency; `sentigraph status` shows more"
        )
    if not bad:
        yield ok("server", f"answers at {url}; {', '.join(running.dependencies)} are well")
