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
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from kafka import KafkaProducer

from benchmarks.harness.bare_engine import ONE_BY_ONE, PLANNED, pace
from benchmarks.harness.kafka import TOPICS, Collector, broker, produce
from benchmarks.harness.machine import ROOT, versions, whole_cores
from benchmarks.harness.models import BUNDLED
from benchmarks.harness.output import RESULTS, result, run_facts, say
from benchmarks.harness.processes import kill_one
from benchmarks.harness.stack import private_stack
from benchmarks.harness.stream_messages import Sent, is_right, messages
from benchmarks.harness.texts import real_texts
from operations.local_stack.stack import Stack

RESULT = RESULTS / "stream.json"
_ENVIRON = {
    "MLOPS_CACHE__L1_MAX_BYTES": "0",
    "MLOPS_CACHE__L2": "none",
    "MLOPS_STREAM__ENABLED": "true",
    # The members that are left find out fast that one is gone.
    "MLOPS_STREAM__SESSION_TIMEOUT_MS": "6000",
    "MLOPS_STREAM__HEARTBEAT_INTERVAL_MS": "1000",
    # The broker answers a waiting fetch only after half of this; Kafka does at once.
    "MLOPS_STREAM__FETCH_WAIT_MS": "10",
}


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
) -> dict[str, Any]:
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
        say(f"killed a {victim} replica at {mark:.0%}")
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
    found = {policy: pace(BUNDLED, texts, policy, cores=cores) for policy in (ONE_BY_ONE, PLANNED)}
    return {policy: round(rate, 1) for policy, rate in found.items()}


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Everything, in one folder that is removed afterwards."""
    facts = run_facts()
    texts = real_texts(given.messages)
    sent = list(messages(texts, given.messages, given.malformed_every))
    ceiling = bare(texts[: given.bare_texts], whole_cores()) if given.bare_texts else {}
    say(f"bare engine: {ceiling}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with broker(folder, given.partitions) as server:
            environ = {
                **_ENVIRON,
                "MLOPS_STREAM__BOOTSTRAP_SERVERS": server.address,
                "MLOPS_REPLICAS__STREAM__NUM_REPLICAS": str(given.consumers),
            }
            with private_stack(folder / "state", **environ) as stack:
                collector = Collector(server.address)
                slow = low_rate(stack, server.address, collector, texts[: given.low_rate_texts])
                say(f"low rate: {slow}")
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
    return {
        **facts,
        "versions": versions(),
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
    parser.add_argument("--save", type=Path, help=f"for example {RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    found = run(given)
    result(given.save, found)
    return 0 if found["right"] else 1


if __name__ == "__main__":
    sys.exit(main())
