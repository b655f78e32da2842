"""What fails beside the stack's own processes: its dependencies, its disk, its memory, its clock.

Redis, the broker, MLflow and Vault are behind a proxy each, so that their answers come late, are
lost, reset or held. The state folder is on a disk of its own where this user may mount one.
"""

import os
import resource
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from benchmarks.harness.kafka import TOPICS
from benchmarks.harness.mlflow_server import MlflowServer
from benchmarks.harness.models import BUNDLED
from benchmarks.harness.servers import KafkaServer, RedisServer
from benchmarks.harness.stack import private_stack, serve_config
from operations.local_stack.stack import Stack
from tests.system.chaos_clock import JumpingClock
from tests.system.chaos_faults import Limits, replica, signalled
from tests.system.chaos_proxy import Fault, TcpProxy
from tests.system.openbao import Bao

_PASSWORD = "a-password-that-vault-has"
_DISK_MB = 1_500
_PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class Setup:
    """A stack and what it depends on.

    Attributes:
        stack: With a cache in Redis, jobs and a stream.
        redis: The cache's server, behind ``to_redis``.
        to_redis: Proxy.
        to_kafka: Proxy; clients of this run come through it too.
        to_mlflow: Proxy.
        vault: Has the cache's password; behind ``to_vault``.
        to_vault: Proxy.
        clock: Of all processes of the stack.
        home: Of the state folder.
        disk: Whether ``home`` is a disk of its own.
    """

    stack: Stack
    redis: RedisServer
    to_redis: TcpProxy
    to_kafka: TcpProxy
    to_mlflow: TcpProxy
    vault: Bao
    to_vault: TcpProxy
    clock: JumpingClock
    home: Path
    disk: bool


@dataclass(frozen=True, slots=True)
class Outage:
    """One fault: broken within the context, mended after it.

    Attributes:
        name: In the results.
        fault: The context.
        limits: Broken ones fail the run.
        why: What the limits rest on.
        can: Whether this machine allows it; where not, it is left out and said.
    """

    name: str
    fault: Callable[[Setup], AbstractContextManager[object]]
    limits: Limits
    why: str
    can: Callable[[Setup], bool] = lambda _: True


@contextmanager
def setup(folder: Path) -> Iterator[Setup]:
    """Starts all of it."""
    with ExitStack() as ends:
        home = folder / "home"
        home.mkdir()
        disk = _mounted(home)
        if disk:
            ends.callback(_unmount, home)
        clock = JumpingClock(folder)
        vault = ends.enter_context(Bao(folder))
        to_vault = ends.enter_context(TcpProxy(vault.port))
        vault.put("redis.password", _PASSWORD)
        redis = ends.enter_context(RedisServer(folder, password=_PASSWORD))
        to_redis = ends.enter_context(TcpProxy(redis.port))
        to_kafka = ends.enter_context(TcpProxy())
        kafka = ends.enter_context(KafkaServer(folder, behind=to_kafka.port))
        to_kafka.upstream = kafka.port
        admin = KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{to_kafka.port}")
        names = (TOPICS.requests_topic, TOPICS.responses_topic, TOPICS.dlq_topic)
        admin.create_topics([NewTopic(name, _PARTITIONS, 1) for name in names])
        admin.close()
        mlflow = ends.enter_context(MlflowServer(folder))
        to_mlflow = ends.enter_context(TcpProxy(int(mlflow.url.rpartition(":")[2])))
        args = {
            "topology": "split",
            "redis": {"host": "127.0.0.1", "port": to_redis.port},
            "vault": {
                "enabled": True,
                "address": f"http://127.0.0.1:{to_vault.port}",
                "refresh_ms": 1_000,
            },
            "cache": {"l2": "redis"},
            "jobs": {"enabled": True, "lease_s": 5},
            "stream": {"enabled": True, "bootstrap_servers": [f"127.0.0.1:{to_kafka.port}"]},
        }
        environ = {
            "SENTIGRAPH_HOME": str(home),
            "MLOPS_REGISTRY__TRACKING_URI": f"http://127.0.0.1:{to_mlflow.port}",
            "MLOPS_REGISTRY__BUNDLED_MODEL_DIR": str(BUNDLED),
            "MLOPS_VAULT_TOKEN": vault.token(),
            **clock.environ,
        }
        config = serve_config(folder, args)
        stack = ends.enter_context(private_stack(None, config, **environ))
        yield Setup(stack, redis, to_redis, to_kafka, to_mlflow, vault, to_vault, clock, home, disk)


def _mounted(folder: Path) -> bool:
    """Whether a disk of its own could be put there."""
    options = ["-t", "tmpfs", "-o", f"size={_DISK_MB}m", "tmpfs", str(folder)]
    done = subprocess.run(["mount", *options], capture_output=True, check=False)
    return done.returncode == 0


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=False)


@contextmanager
def redis_is_killed(it: Setup) -> Iterator[None]:
    """Its memory is lost."""
    it.redis.stop()
    yield
    it.redis.start()


@contextmanager
def vault_is_sealed(it: Setup) -> Iterator[None]:
    """It answers, with nothing but that."""
    it.vault.root.sys.seal()
    yield
    it.vault.unseal()


@contextmanager
def jobs_database_is_locked(it: Setup) -> Iterator[None]:
    """Another program writes to it all the time, for less than its writers wait."""
    with closing(sqlite3.connect(it.home / ".sentigraph" / "jobs.db", timeout=60)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.rollback()


@contextmanager
def disk_is_full(it: Setup) -> Iterator[None]:
    """Not a byte is left where the state folder is."""
    filler = it.home / "filler"
    with filler.open("wb") as file, suppress(OSError):
        while True:
            os.write(file.fileno(), b"x" * (1 << 20))
    with filler.open("ab") as file, suppress(OSError):
        while True:
            os.write(file.fileno(), b"x" * 512)
    yield
    filler.unlink()


@contextmanager
def model_has_no_more_memory(it: Setup) -> Iterator[None]:
    """One replica gets no more than it has."""
    [pid] = replica("Model")(it.stack)
    size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.prlimit(pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
    yield
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_AS, before)


def killed(deployment: str) -> Callable[[Setup], AbstractContextManager[object]]:
    """Its first replica dies."""

    @contextmanager
    def fault(it: Setup) -> Iterator[None]:
        signalled(replica(deployment)(it.stack), signal.SIGKILL)
        yield

    return fault


_NOTHING = Limits(failed_s=0.5, silence_s=5, recovered_s=5)
_SLOW = Limits(failed_s=0.5, silence_s=5, recovered_s=25)
_SHARED = Limits(failed_s=1, silence_s=5, recovered_s=25)
_KINDS = {
    "200 ms late": Fault(delay_s=0.2),
    "2 s late": Fault(delay_s=2.0),
    "reset": Fault(reset=True),
    "held": Fault(holds=True),
    "a fifth cut": Fault(cut_share=0.2),
}


def outages() -> list[Outage]:
    """All of them."""
    found = []
    for kind, fault in _KINDS.items():
        found += [
            Outage(
                f"Redis {kind}",
                lambda it, fault=fault: it.to_redis.fault(fault),  # type: ignore[misc]
                _SLOW,
                "a look into the cache has a deadline, and then a breaker",
            ),
            Outage(
                f"broker {kind}",
                lambda it, fault=fault: it.to_kafka.fault(fault),  # type: ignore[misc]
                _NOTHING,
                "no prediction over HTTP needs it; messages are settled afterwards",
            ),
            Outage(
                f"MLflow {kind}",
                lambda it, fault=fault: it.to_mlflow.fault(fault),  # type: ignore[misc]
                _NOTHING,
                "no prediction needs it; the alias moves afterwards",
            ),
            Outage(
                f"Vault {kind}",
                lambda it, fault=fault: it.to_vault.fault(fault),  # type: ignore[misc]
                _NOTHING,
                "the last secrets stay",
            ),
        ]
    found += [
        Outage(
            f"clock jumps by {hours:+d} h",
            lambda it, hours=hours: it.clock.jumped(hours * 3_600),  # type: ignore[misc]
            _NOTHING,
            "deadlines are of the monotonic clock",
            can=lambda it: bool(it.clock.environ),
        )
        for hours in (1, -1)
    ]
    return [
        *found,
        Outage("Vault sealed", vault_is_sealed, _NOTHING, "the last secrets stay"),
        Outage("Redis SIGKILL", redis_is_killed, _SLOW, "the cache is empty afterwards"),
        Outage("jobs database locked", jobs_database_is_locked, _NOTHING, "jobs wait"),
        Outage("Jobs SIGKILL", killed("Jobs"), _NOTHING, "its leases end, and are taken again"),
        Outage("Stream SIGKILL", killed("Stream"), _NOTHING, "the group gives its partitions on"),
        Outage(
            "state disk full",
            disk_is_full,
            _NOTHING,
            "predictions write nothing that they wait for",
            can=lambda it: it.disk,
        ),
        Outage(
            "Model without memory",
            model_has_no_more_memory,
            _SHARED,
            "what fails there is sent to the other one",
        ),
    ]


@contextmanager
def private_setup() -> Iterator[Setup]:
    """In a temporary folder."""
    with tempfile.TemporaryDirectory() as folder, setup(Path(folder)) as it:
        yield it
