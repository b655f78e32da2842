"""Kafka end to end under fire: ``python -m benchmarks.serving.stream``.

A private stack with two stream replicas reads real sentences (ICWSM-14, in turn, so 50,000
messages repeat each about three times; both caches are off, so each is computed) from a real
broker of the Kafka protocol (tansu, in memory). On the way consumers are killed with SIGKILL
three times and a model replica once. At the end every valid message must have exactly one
distinct result, every malformed one a dead letter. Beside it: the bare engine, in the same
run on the same machine, and what a message waits at a low rate, beside HTTP.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from benchmarks.comparison.bare_engine import ONE_BY_ONE, PLANNED, pace
from benchmarks.harness.machine import commit, load_average, machine, versions, whole_cores
from benchmarks.harness.servers import KafkaServer
from benchmarks.harness.texts import ROOT, real_texts
from benchmarks.serving.stream_messages import Ledger, Sent, is_right, messages
from configs.schema.stream import StreamConfig
from operations.local_stack.processes import MARK, belonging
from operations.local_stack.stack import Stack, StackSettings

TOPICS = StreamConfig()
RESULTS = ROOT / "benchmarks" / "results" / "stream.json"
_SETTLE_S = 900.0
# A second consumer's worth of members finds out fast who is gone.
_GROUP = {
    "MLOPS_STREAM__SESSION_TIMEOUT_MS": "6000",
    "MLOPS_STREAM__HEARTBEAT_INTERVAL_MS": "1000",
    # The broker answers a waiting fetch only after half of this; Kafka does at once.
    "MLOPS_STREAM__FETCH_WAIT_MS": "10",
}


class Collector:
    """Reads results and dead letters as they come, and notes when."""

    def __init__(self, address: str, prefix: bytes = b"") -> None:
        """Starts to read; ``prefix`` leaves out what others sent over the same broker."""
        self._prefix = prefix
        self.ledger = Ledger()
        self.times: list[tuple[float, int]] = []
        self.arrived: dict[str, float] = {}
        self._consumer = KafkaConsumer(
            TOPICS.responses_topic,
            TOPICS.dlq_topic,
            bootstrap_servers=address,
            auto_offset_reset="earliest",
            group_id=None,
            fetch_max_wait_ms=10,
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            for partition, records in self._consumer.poll(timeout_ms=200).items():
                now = time.monotonic()
                for record in records:
                    if not (record.key or b"").startswith(self._prefix):
                        continue
                    if partition.topic == TOPICS.responses_topic:
                        self.ledger.result(record.key, record.value)
                        self.arrived.setdefault(record.key.decode(), now)
                    else:
                        self.ledger.letter(record.key)
                self.times.append((now, self.ledger.settled))

    def wait(self, settled: int, wait_s: float = _SETTLE_S) -> None:
        """Returns when so many messages are settled."""
        until_s = time.monotonic() + wait_s
        while self.ledger.settled < settled:
            assert time.monotonic() < until_s, f"{self.ledger.settled} of {settled} settled"
            time.sleep(0.05)

    def close(self) -> None:
        """Ends the thread."""
        self._ended.set()
        self._thread.join()
        self._consumer.close()


def replicas(stack: Stack, deployment: str) -> list[int]:
    """Process ids of a deployment's replicas."""
    name = f"ray::ServeReplica:sentigraph:{deployment}".encode()
    found = []
    for pid in belonging(stack.environ[MARK], set()):
        try:
            if (Path("/proc") / str(pid) / "cmdline").read_bytes().startswith(name):
                found.append(pid)
        except OSError:
            continue
    return sorted(found)


def kill_one(stack: Stack, deployment: str) -> None:
    """SIGKILL to one replica; returns when another process has its place."""
    before = replicas(stack, deployment)
    os.kill(before[0], signal.SIGKILL)
    until_s = time.monotonic() + 120
    while len(set(replicas(stack, deployment)) - {before[0]}) < len(before):
        assert time.monotonic() < until_s, f"no new replica of {deployment}"
        time.sleep(0.2)


@contextmanager
def broker(folder: Path, partitions: int) -> Iterator[KafkaServer]:
    """A broker with the three topics."""
    with KafkaServer(folder) as server:
        admin = KafkaAdminClient(bootstrap_servers=server.address)
        names = (TOPICS.requests_topic, TOPICS.responses_topic, TOPICS.dlq_topic)
        admin.create_topics([NewTopic(n, partitions, 1) for n in names])
        admin.close()
        yield server


def stack_settings(folder: Path, address: str, consumers: int) -> StackSettings:
    """A private stack that reads from the broker; nothing is cached."""
    environ = {
        **os.environ,
        **_GROUP,
        "MLOPS_CACHE__L1_MAX_BYTES": "0",
        "MLOPS_CACHE__L2": "none",
        "MLOPS_STREAM__ENABLED": "true",
        "MLOPS_STREAM__BOOTSTRAP_SERVERS": address,
        "MLOPS_REPLICAS__STREAM__NUM_REPLICAS": str(consumers),
    }
    return StackSettings(environ, state_dir=folder, port=0, mlflow_port=0, dashboard_port=0)


def produce(address: str, sent: list[Sent]) -> None:
    """Puts all messages into the requests topic."""
    producer = KafkaProducer(bootstrap_servers=address, linger_ms=20, compression_type="lz4")
    for message in sent:
        producer.send(TOPICS.requests_topic, key=message.key, value=message.value)
    producer.flush()
    producer.close()


def low_rate(
    stack: Stack, address: str, collector: Collector, texts: list[str]
) -> dict[str, float]:
    """Milliseconds from sending to the result, one message at a time, beside HTTP."""
    producer = KafkaProducer(bootstrap_servers=address, linger_ms=0)
    over_kafka, over_http = [], []
    with httpx.Client(timeout=30) as client:
        for i, text in enumerate(texts):
            name = f"slow-{i}"
            started_s = time.monotonic()
            value = json.dumps({"id": name, "text": text}).encode()
            producer.send(TOPICS.requests_topic, key=name.encode(), value=value)
            while name not in collector.arrived:
                time.sleep(0.000_5)
            over_kafka.append(collector.arrived[name] - started_s)
            time.sleep(0.1)
            started_s = time.monotonic()
            client.post(f"{stack.url}/api/v1/predict", json={"text": text}).raise_for_status()
            over_http.append(time.monotonic() - started_s)
            time.sleep(0.1)
    producer.close()
    # The collector was warmed up by the first few.
    kafka_ms, http_ms = (statistics.median(found[5:]) * 1_000 for found in (over_kafka, over_http))
    return {
        "kafka_p50_ms": round(kafka_ms, 1),
        "http_p50_ms": round(http_ms, 1),
        "added_ms": round(kafka_ms - http_ms, 1),
    }


def under_fire(
    stack: Stack, address: str, collector: Collector, sent: list[Sent], kills: int
) -> dict[str, object]:
    """All messages, with kills spread over them; rates with and without."""
    base = collector.ledger.settled
    produce(address, sent)
    started_s = time.monotonic()
    # The first tenth warms up, the second is measured undisturbed, then it begins.
    marks = [0.2 + 0.7 * i / (kills + 1) for i in range(kills + 1)]
    victims = ["Stream"] * kills
    victims.insert(kills // 2, "Model")
    done = []
    for mark, victim in zip(marks, victims, strict=True):
        collector.wait(base + round(mark * len(sent)))
        kill_one(stack, victim)
        done.append({"killed": victim, "at_percent": round(100 * mark)})
        _say(f"killed a {victim} replica at {mark:.0%}")
    collector.wait(base + len(sent))
    seconds = time.monotonic() - started_s
    calm = next(at for at, settled in collector.times if settled - base >= 0.05 * len(sent))
    fire = next(at for at, settled in collector.times if settled - base >= 0.2 * len(sent))
    return {
        "kills": done,
        "seconds": round(seconds, 1),
        "with_kills_per_s": round(len(sent) / seconds, 1),
        "undisturbed_per_s": round(0.15 * len(sent) / (fire - calm), 1),
    }


def bare(texts: list[str], cores: int) -> dict[str, float]:
    """Texts a second of the bare engine, by policy."""
    bundle = ROOT / "models" / "sentiment"
    found = {policy: pace(bundle, texts, policy, cores=cores) for policy in (ONE_BY_ONE, PLANNED)}
    return {policy: round(rate, 1) for policy, rate in found.items()}


def run(given: argparse.Namespace) -> dict[str, object]:
    """Everything, in one folder that is removed afterwards."""
    texts = real_texts(given.messages)
    sent = list(messages(texts, given.messages, given.malformed_every))
    ceiling = bare(texts[: given.bare_texts], whole_cores()) if given.bare_texts else {}
    _say(f"bare engine: {ceiling}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with broker(folder, given.partitions) as server:
            settings = stack_settings(folder / "state", server.address, given.consumers)
            with Stack(settings, on_step=_say) as stack:
                collector = Collector(server.address)
                slow = low_rate(stack, server.address, collector, texts[: given.low_rate_texts])
                _say(f"low rate: {slow}")
                # They are no part of what is counted below.
                before = set(collector.ledger.values)
                collector.ledger.values.clear()
                collector.ledger.contents.clear()
                collector.ledger.results -= len(before)
                fire = under_fire(stack, server.address, collector, sent, given.kills)
                time.sleep(3)  # whatever is repeated comes now
                collector.close()
    verdict = collector.ledger.verdict(sent)
    rate = fire["undisturbed_per_s"]
    assert isinstance(rate, float)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python -m benchmarks.serving.stream " + " ".join(sys.argv[1:]),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "load_before": round(load_average(), 2),
        "distinct_texts": len(texts),
        "partitions": given.partitions,
        "consumers": given.consumers,
        "bare_texts_per_s": ceiling,
        "stream": fire,
        "ratio_to_bare": {policy: round(rate / pace_, 3) for policy, pace_ in ceiling.items()},
        "low_rate": slow,
        "verdict": dict(verdict),
        "right": is_right(verdict),
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Runs it, writes the result; 0 when nothing was lost or answered twice differently."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--malformed-every", type=int, default=100)
    parser.add_argument("--consumers", type=int, default=2)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--kills", type=int, default=3, help="of consumers; one model beside them")
    parser.add_argument("--low-rate-texts", type=int, default=60)
    parser.add_argument("--bare-texts", type=int, default=4_000)
    parser.add_argument("--save", type=Path, help=f"for example {RESULTS.relative_to(ROOT)}")
    result: Mapping[str, object] = run(parser.parse_args())
    content = json.dumps(result, indent=2) + "\n"
    save = parser.parse_args().save
    if save:
        save.write_text(content, encoding="utf-8")
    print(content, end="")
    return 0 if result["right"] else 1


if __name__ == "__main__":
    sys.exit(main())
