"""Faults of a running stack that its alerts must tell of. Each is a context: broken, then mended.

It gives the moment of the fault; ``alerts.py`` waits inside. Nothing here knows of metrics or
rules: processes are killed or held, an alias is moved, messages are sent.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.kafka import produce
from benchmarks.harness.models import NAME, register_variant
from benchmarks.harness.processes import replicas_of
from benchmarks.harness.servers import RedisServer
from benchmarks.harness.stack import registry_of
from benchmarks.harness.stream_messages import messages
from benchmarks.loadgen.background import BackgroundLoad, numbered_bodies
from operations.clients.ray_dashboard import RayDashboard
from operations.local_stack.stack import Stack

_MESSAGES = 20_000


@dataclass
class Breakable:
    """A stack and its servers.

    Attributes:
        stack: With three tokenizers, two models, a stream replica.
        redis: Its shared cache.
        kafka: Address of its broker.
        cluster: Its Ray.
        folder: For files that a fault needs.
    """

    stack: Stack
    redis: RedisServer
    kafka: str
    cluster: RayDashboard
    folder: Path

    def models(self, sent: signal.Signals) -> None:
        """Signals every model replica."""
        for pid in replicas_of(self.stack, "Model"):
            with suppress(ProcessLookupError):
                os.kill(pid, sent)


def calm_load(it: Breakable, clients: int = 1, pause_s: float = 0.5) -> BackgroundLoad:
    """Single texts that were never sent before, from some clients, with pauses."""
    # The same numbers again would be answered by a cache.
    bodies = numbered_bodies([f"Text of {time.time()}, number"])
    return BackgroundLoad(it.stack.url, bodies, clients=clients, pause_s=pause_s, timeout_s=20.0)


@contextmanager
def redis_is_killed(it: Breakable) -> Iterator[float]:
    """The shared cache is away; texts go on to the model."""
    with calm_load(it, 2, 0.4):
        it.redis.stop()
        yield time.monotonic()
        it.redis.start()


@contextmanager
def models_answer_in_jerks(it: Breakable) -> Iterator[float]:
    """They stand still for 1.2 s again and again: few answers come within 250 ms."""
    ended = threading.Event()

    def jerk() -> None:
        while not ended.is_set():
            it.models(signal.SIGSTOP)
            ended.wait(1.2)
            it.models(signal.SIGCONT)
            ended.wait(0.05)

    thread = threading.Thread(target=jerk, daemon=True)
    with calm_load(it, 64, 0.1):
        thread.start()
        yield time.monotonic()
        ended.set()
        thread.join()


@contextmanager
def models_hang_while_the_champion_moves(it: Breakable) -> Iterator[float]:
    """The alias is moved in MLflow, and no replica can load the version."""
    models = registry_of(it.stack)
    version = register_variant(models, it.folder, temperature=1.01)
    models.lifecycle.transition(NAME, version, "staging", actor="bench", reason="drift")
    it.models(signal.SIGSTOP)
    client = models.store.mlflow.client()
    client.set_registered_model_alias(NAME, "champion", str(version))
    yield time.monotonic()
    it.models(signal.SIGCONT)


@contextmanager
def tokenizers_are_killed_again_and_again(it: Breakable) -> Iterator[float]:
    """Each replica dies by SIGKILL as soon as it is up."""
    ended = threading.Event()
    killed: set[int] = set()

    def kill() -> None:
        while not ended.wait(0.5):
            for pid in up() - killed:
                killed.add(pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def up() -> set[int]:
        application = it.cluster.application("sentigraph")
        deployments = application.deployments if application else ()
        found = [r for d in deployments if d.name == "Tokenizer" for r in d.replicas]
        return {replica.pid for replica in found if replica.state == "RUNNING" and replica.pid}

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    yield time.monotonic()
    ended.set()
    thread.join()


@contextmanager
def models_hang_while_messages_come(it: Breakable) -> Iterator[float]:
    """20,000 messages at once, and no replica answers them."""
    texts = [f"Message number {i}." for i in range(_MESSAGES)]
    sent = list(messages(texts, _MESSAGES, 0))
    it.models(signal.SIGSTOP)
    held_s = time.monotonic()
    produce(it.kafka, sent)
    yield held_s
    it.models(signal.SIGCONT)


# Alert → what is done, and how. Slowness first: a burn rate is a share of all requests so far.
FAULTS: dict[str, tuple[str, Callable[[Breakable], AbstractContextManager[float]]]] = {
    "SlownessBurnFast": ("models stand still for 1.2 s again and again", models_answer_in_jerks),
    "RedisDown": ("Redis is killed", redis_is_killed),
    "ServingDrift": (
        "the champion moves in MLflow while models hang",
        models_hang_while_the_champion_moves,
    ),
    "ReplicaCrashLoop": (
        "three tokenizers are killed whenever they are up",
        tokenizers_are_killed_again_and_again,
    ),
    "KafkaLag": (f"{_MESSAGES} messages come while models hang", models_hang_while_messages_come),
}
