"""Every endpoint of a running graph, called in turn, so that every metric has something to count.

Steady traffic runs in a thread; ``ACTS`` are what else happens to a production system: callers
that may not, texts that come too late, jobs, feedback, a shadow, a release and its way back,
secrets that are replaced, and each dependency away for a moment.
"""

import itertools
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from benchmarks.harness.kafka import produce
from benchmarks.harness.models import ACTOR, NAME, register_variant
from benchmarks.harness.processes import kill_one
from benchmarks.harness.servers import KafkaServer, RedisServer
from benchmarks.harness.stack import registry_of
from benchmarks.harness.stream_messages import messages
from configs.schema.access import ApiKey
from configs.schema.api_keys import new_key, write_keys
from operations.local_stack.ports import free_port
from operations.local_stack.stack import Stack
from tests.system.openbao import Bao

_AWAY_S = 6.0
_PACE_S = 0.12


@dataclass
class WholeStack:
    """The stack, what it depends on, and what callers have."""

    stack: Stack
    redis: RedisServer
    bao: Bao
    kafka: KafkaServer
    keys: dict[str, str]
    kept: list[ApiKey]
    texts: list[str]
    folder: Path
    hook: int
    statuses: Counter[str] = field(default_factory=Counter)
    turn: Iterator[int] = field(default_factory=itertools.count)

    def client(self, name: str) -> httpx.Client:
        """Asks with one of the keys."""
        headers = {"X-API-Key": self.keys.get(name, "sg_no-such-key-0")}
        return httpx.Client(base_url=f"{self.stack.url}/api/v1", headers=headers, timeout=60)

    def ask(
        self, client: httpx.Client, path: str, body: object, **headers: str
    ) -> httpx.Response | None:
        """Posts, and notes what came back; None where the connection broke."""
        try:
            answer = client.post(path, json=body, headers=headers)
        except httpx.HTTPError as error:
            self.statuses[type(error).__name__] += 1
            return None
        self.statuses[str(answer.status_code)] += 1
        return answer

    def fresh(self, count: int) -> list[str]:
        """Texts that were never sent before."""
        return [
            f"{self.texts[n % len(self.texts)]} {n}" for n in itertools.islice(self.turn, count)
        ]


@contextmanager
def traffic(world: WholeStack) -> Iterator[None]:
    """Singles, batches and the Open Inference Protocol; every third text was sent before."""
    ended = threading.Event()

    def run() -> None:
        with world.client("shop") as client:
            for number in itertools.count():
                text = world.texts[number % 50] if number % 3 == 0 else world.fresh(1)[0]
                world.ask(client, "/predict", {"text": text})
                if number % 20 == 0:
                    same = world.fresh(1) * 2
                    world.ask(client, "/predict/batch", {"texts": [*world.fresh(30), *same]})
                if number % 25 == 0:
                    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}
                    path = f"{world.stack.url}/v2/models/{NAME}/infer"
                    world.ask(client, path, {"inputs": [tensor]})
                if ended.wait(_PACE_S):
                    return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(60)


@contextmanager
def webhook() -> Iterator[int]:
    """The port of a receiver that accepts every message."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def refusals(world: WholeStack) -> None:
    """No key, a wrong one, one without the role, one above its rate; a text that is none."""
    for name in ("nobody", "slow"):
        with world.client(name) as client:
            for _ in range(15):
                world.ask(client, "/predict", {"text": "a"})
    with world.client("shop") as client:
        world.statuses[str(client.get("/models/live").status_code)] += 1
        world.ask(client, "/predict", {"text": " "})


def too_late(world: WholeStack) -> None:
    """Texts whose deadline passes while they wait behind a batch, and callers who hang up."""

    def late(deadline_ms: str) -> None:
        with world.client("shop") as client:
            body = {"text": world.fresh(1)[0]}
            world.ask(client, "/predict", body, **{"X-Deadline-Ms": deadline_ms})

    def crowd() -> None:
        with world.client("shop") as client:
            world.ask(client, "/predict/batch", {"texts": world.fresh(200)})

    def hang_up() -> None:
        with world.client("shop") as client:
            client.timeout = httpx.Timeout(0.05)
            world.ask(client, "/predict/batch", {"texts": world.fresh(200)})

    with ThreadPoolExecutor(8) as pool:
        for deadline_ms in ("1", "2", "5", "10", "20"):
            pool.submit(crowd)
            pool.submit(late, deadline_ms)
            pool.submit(hang_up)


def jobs(world: WholeStack) -> None:
    """One of each priority; the last one's webhook leads nowhere."""
    ports = {"high": world.hook, "medium": world.hook, "low": free_port()}
    with world.client("shop") as client:
        for priority, port in ports.items():
            hook = f"http://127.0.0.1:{port}/ended"
            body = {"texts": world.fresh(200), "priority": priority, "webhook_url": hook}
            world.ask(client, "/batch/predict", body)


def stream(world: WholeStack) -> None:
    """Messages, every tenth of them malformed."""
    produce(world.kafka.address, list(messages(world.fresh(600), 600, 20)))


def feedback(world: WholeStack) -> None:
    """Two answers are judged: one right, one wrong."""
    with world.client("shop") as client:
        for same in (True, False):
            answer = world.ask(client, "/predict", {"text": world.fresh(1)[0]})
            if answer is None or answer.status_code != 200:
                continue
            label = answer.json()["label"]
            other = {"POSITIVE": "NEGATIVE", "NEGATIVE": "POSITIVE"}
            number = answer.json()["prediction_id"]
            body = {"prediction_id": number, "corrected_label": label if same else other[label]}
            world.ask(client, "/feedback", body)


def new_keys(world: WholeStack) -> None:
    """A key is replaced in Vault while its callers go on."""
    fresh, kept = new_key("rotated", ["predict"])
    world.keys["rotated"] = fresh
    world.bao.put("access.api_keys", write_keys([*world.kept, kept]))


def redis_away(world: WholeStack) -> None:
    """Redis holds its breath."""
    world.redis.signal(signal.SIGSTOP)
    time.sleep(_AWAY_S)
    world.redis.signal(signal.SIGCONT)


def vault_away(world: WholeStack) -> None:
    """Vault is sealed for a moment."""
    world.bao.root.sys.seal()
    time.sleep(_AWAY_S)
    world.bao.unseal()


def replica_lost(world: WholeStack) -> None:
    """A replica of the model is killed."""
    kill_one(world.stack, "Model")


def shadowed(world: WholeStack) -> None:
    """Another version answers beside the champion."""
    registry_of(world.stack).lifecycle.set_slot(NAME, "shadow", _staged(world, 1.5), **_BY)


def released(world: WholeStack) -> None:
    """Another version takes over; the shadow goes."""
    lifecycle = registry_of(world.stack).lifecycle
    lifecycle.set_slot(NAME, "shadow", None, **_BY)
    lifecycle.transition(NAME, _staged(world, 1.2), "production", **_BY)


def rolled_back(world: WholeStack) -> None:
    """The first version again."""
    registry_of(world.stack).lifecycle.rollback(NAME, to=1, **_BY)


Act = Callable[[WholeStack], None]
# When, as a share of the run; the last tenth is left for what they leave behind.
ACTS: tuple[tuple[float, Act], ...] = (
    *((share / 20, act) for share in range(1, 18, 4) for act in (refusals, too_late, feedback)),
    *((share / 20, act) for share in (2, 7, 12, 16) for act in (jobs, stream)),
    (0.15, shadowed),
    (0.25, new_keys),
    (0.40, released),
    (0.50, redis_away),
    (0.60, vault_away),
    (0.70, replica_lost),
    (0.80, rolled_back),
)
_BY: dict[str, Any] = {"actor": ACTOR, "reason": "scripted run"}


def _staged(world: WholeStack, temperature: float) -> int:
    """The bundled model with another temperature, in staging."""
    registry = registry_of(world.stack)
    version = register_variant(registry, world.folder, temperature=temperature)
    registry.lifecycle.transition(NAME, version, "staging", **_BY)
    return version
