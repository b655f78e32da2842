"""Part of ``make abuse``: cheap attackers beside legitimate callers, on a stack with access on.

``slow``: 5000 connections that drip headers and 300 that drip uploads, beside 50 requests in a
second. ``hogs``: a caller with every class, size and door beside one that wants its half.
``many``: hostile requests of all identities over HTTP, raw sockets and gRPC for some seconds; parts
add up in the result file. Writes ``results/attack.json``; exit status 1 when something does not
hold. Loopback only.
"""

import argparse
import asyncio
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from benchmarks.harness.machine import ROOT
from benchmarks.harness.output import RESULTS, result, run_facts, say
from benchmarks.harness.processes import replicas
from benchmarks.harness.stack import private_stack
from benchmarks.loadgen.background import BackgroundLoad, numbered_bodies
from configs.schema.access import Role
from configs.schema.api_keys import new_key, write_keys
from operations.local_stack.stack import Stack
from tests.system import hostile_grpc, hostile_http
from tests.system.pipelines import Attack, Seeds, Seen

_FILE = RESULTS / "attack.json"
_BATCH, _OIP = "/api/v1/predict/batch", "/v2/models/sentiment/infer"
_TEXT = "The parcel came late and the box was open"
_SEEDS_OF_A_PART = 100_000_000


@dataclass(frozen=True, slots=True)
class Guarded:
    """A stack with access on, and a key of each kind."""

    stack: Stack
    keys: Mapping[str, str]

    def header(self, name: str) -> dict[str, str]:
        """What its caller sends."""
        return {"X-API-Key": self.keys[name]}

    @property
    def port(self) -> int:
        """Of the application."""
        return urlsplit(self.stack.url).port or 0


def guarded(folder: Path, stack: ExitStack) -> Guarded:
    """Starts the stack; it ends with ``stack``."""
    roles = {name: [name] for name in get_args(Role)} | {
        name: ["predict"] for name in ("legitimate", "hog", "victim", "expired")
    }
    made = {name: new_key(name, each) for name, each in roles.items()}
    yesterday = datetime.now(UTC) - timedelta(days=1)
    kept = [
        entry.model_copy(update={"expires_at": yesterday}) if name == "expired" else entry
        for name, (_, entry) in made.items()
    ]
    environ = {
        "MLOPS_ACCESS__REQUIRED": "true",
        "MLOPS_ACCESS__API_KEYS": write_keys(kept),
        "MLOPS_JOBS__ENABLED": "true",
        "MLOPS_DRIFT_DETECTION_ENABLED": "true",
        "MLOPS_FEEDBACK__ENABLED": "true",
    }
    running = stack.enter_context(private_stack(folder, **environ))
    return Guarded(running, {name: key for name, (key, _) in made.items()})


def _quantiles_ms(latencies_s: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(latencies_s, n=100)
    return {f"p{n}_ms": round(cuts[n - 1] * 1_000, 1) for n in (50, 90, 99)}


def slow(guarded: Guarded, seconds: int) -> dict[str, Any]:
    """Legitimate requests calm and beside slow senders."""

    def legitimate() -> BackgroundLoad:
        bodies = numbered_bodies([f"{_TEXT} {random.random()}"])
        headers = guarded.header("legitimate")
        return BackgroundLoad(guarded.stack.url, bodies, rate_per_s=50, headers=headers)

    with legitimate():
        time.sleep(5)
    with legitimate() as calm:
        time.sleep(seconds)
    command = [sys.executable, "-m", "tests.system.drip", str(guarded.port), "5000", "300"]
    command += [guarded.keys["predict"], str(seconds + 25)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as dripping:
        time.sleep(15)
        with legitimate() as beside:
            time.sleep(seconds)
        said = json.loads(dripping.communicate()[0])
    found: dict[str, Any] = {
        "seconds": seconds,
        "dripping": said,
        "calm": _quantiles_ms(calm.latencies_s) | {"sent": calm.statuses.total()},
        "beside": _quantiles_ms(beside.latencies_s) | {"sent": beside.statuses.total()},
        "failed": {"calm": calm.failed, "beside": beside.failed},
    }
    twice = 2 * found["calm"]["p99_ms"]
    found["holds"] = not beside.failed and found["beside"]["p99_ms"] <= twice
    return found


def _batches(count: int, chars: int) -> Iterator[str]:
    """Bodies of batches without end, no text twice."""
    for number in itertools.count():
        mark = random.getrandbits(40)
        texts = [f"{mark} {number} {i} {_TEXT}"[: max(chars, 40)] for i in range(count)]
        if chars > 100:
            texts = [f"{text} {'late parcel ' * (chars // 12)}"[:chars] for text in texts]
        yield json.dumps({"texts": texts})


def _oip(count: int) -> Iterator[str]:
    for body in _batches(count, 40):
        texts = json.loads(body)["texts"]
        tensor = {"name": "text", "shape": [count], "datatype": "BYTES", "data": texts}
        yield json.dumps({"inputs": [tensor]})


INTERACTIVE = {"X-Priority": "interactive"}
HOGS: dict[str, tuple[str, Any, dict[str, str], int]] = {
    # Name: path, bodies, headers, connections.
    "bulk batches of 500": (_BATCH, lambda: _batches(500, 40), {}, 5),
    "interactive batches of 500": (_BATCH, lambda: _batches(500, 40), INTERACTIVE, 5),
    "interactive single texts": ("/api/v1/predict", lambda: numbered_bodies([_TEXT]), {}, 64),
    "long texts": (_BATCH, lambda: _batches(40, 3_000), INTERACTIVE, 8),
    "open inference": (_OIP, lambda: _oip(200), INTERACTIVE, 8),
    "batch jobs": ("/api/v1/batch/predict", lambda: _batches(1_000, 40), {}, 2),
}


def hogs(guarded: Guarded, seconds: int) -> dict[str, Any]:
    """What a victim gets beside each hog, of what it gets alone."""
    size = 20

    def victim() -> BackgroundLoad:
        return BackgroundLoad(
            guarded.stack.url,
            _batches(size, 40),
            clients=24,
            path=_BATCH,
            headers=guarded.header("victim"),
        )

    def texts_per_s() -> float:
        with victim() as load:
            time.sleep(3)
            before = load.statuses["200"]
            time.sleep(seconds)
            return (load.statuses["200"] - before) * size / seconds

    found: dict[str, Any] = {"alone_texts_per_s": round(texts_per_s(), 1), "hogs": {}}
    for name, (path, bodies, headers, clients) in HOGS.items():
        load = BackgroundLoad(
            guarded.stack.url,
            bodies(),
            clients=clients,
            pause_s=0.02,
            path=path,
            headers={**guarded.header("hog"), **headers},
        )
        with load:
            time.sleep(1)
            got = texts_per_s()
        share = got / (found["alone_texts_per_s"] / 2)
        found["hogs"][name] = {"victim_texts_per_s": round(got, 1), "of_half": round(share, 2)}
        say(f"beside {name}: {share:.2f} of half")
        if path.endswith("/batch/predict"):
            break  # its jobs go on
    found["holds"] = all(each["of_half"] >= 0.8 for each in found["hogs"].values())
    return found


def _descriptors(pids: Mapping[int, str]) -> dict[str, int]:
    count: Counter[str] = Counter()
    for pid, name in pids.items():
        count[name] += len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return dict(count)


def _memory_mb(pids: Mapping[int, str]) -> dict[str, float]:
    used: Counter[str] = Counter()
    for pid, name in pids.items():
        used[name] += hostile_http.rss_mb(pid)  # type: ignore[assignment]
    return {name: round(mb, 1) for name, mb in used.items()}


def many(guarded: Guarded, seconds: int, part: int) -> dict[str, Any]:
    """Hostile requests over all doors for some seconds; ``part`` chooses their seeds."""
    document = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
    identities = {name: (f"X-API-Key: {guarded.keys[name]}",) for name in get_args(Role)} | {
        "none": (),
        "wrong": ("X-API-Key: 0123456789abcdef",),
        "expired": (f"X-API-Key: {guarded.keys['expired']}",),
        "bearer": ("Authorization: Bearer e30.e30.e30",),
    }
    attack = Attack(["/", "/metrics", "/console", "/v2", *document["paths"]], identities)
    before = replicas(guarded.stack)
    marks = [(_memory_mb(before), _descriptors(before))]
    seen, began_s = Seen(), time.monotonic()
    seeds = Seeds(part * _SEEDS_OF_A_PART, lambda: time.monotonic() < began_s + seconds)
    ingress = next(pid for pid, name in before.items() if name == "Ingress")

    async def run() -> tuple[dict[str, object], dict[str, object]]:
        clients = [attack.client("127.0.0.1", guarded.port, seeds, seen) for _ in range(16)]
        raw = hostile_http.attack(guarded.stack.url, "sentiment", seconds * 12, 2, ingress)
        calls = hostile_grpc.attack(guarded.stack.grpc_address, seconds * 8, 2)
        (web, grpc), _ = await asyncio.gather(asyncio.gather(raw, calls), asyncio.gather(*clients))
        return web, grpc

    web, grpc = asyncio.run(run())
    time.sleep(12)  # the ingress gives free pages back
    marks.append((_memory_mb(before), _descriptors(before)))
    return {
        "seconds": round(time.monotonic() - began_s),
        "sent": seen.count + int(str(web["sent"])) + int(str(grpc["sent"])),
        "identities": dict(sorted(seen.answers.items())),
        "raw": {name: web[name] for name in ("sent", "answers", "5xx", "bad_seeds")},
        "grpc": grpc,
        "5xx": len(seen.faults) + int(str(web["5xx"])) + int(str(grpc["servers_fault"])),
        "faults": seen.faults,
        "misdirected": seen.misdirected,
        "rows_cut_off": seen.broken,
        "replicas_lost": len(set(before) - set(replicas(guarded.stack))),
        "memory_mb": [memory for memory, _ in marks],
        "descriptors": [descriptors for _, descriptors in marks],
    }


def _merged(name: str, facts: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The result file with one more finding; parts of ``many`` add up."""
    content = json.loads(_FILE.read_text(encoding="utf-8")) if _FILE.is_file() else {}
    if name != "many":
        return content | {name: facts | found}
    parts = [*content.get("many", {}).get("parts", []), facts | found]
    total = {key: sum(each[key] for each in parts) for key in ("sent", "seconds", "5xx")}
    total["misdirected"] = sum(len(each["misdirected"]) for each in parts)
    total["replicas_lost"] = sum(each["replicas_lost"] for each in parts)
    total["requests_per_s"] = round(total["sent"] / total["seconds"], 1)
    return content | {"many": total | {"parts": parts}}


def main() -> int:
    """Runs what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", default=["slow", "hogs", "many"])
    parser.add_argument("--seconds", type=int, default=600, help="of many")
    parser.add_argument("--within", type=int, default=680, help="seconds for everything")
    parser.add_argument("--part", type=int, default=0, help="other requests than other parts")
    given = parser.parse_args()
    facts, ok, ends_s = run_facts(), True, time.monotonic() + given.within
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        target = guarded(Path(folder), stack)

        def left_s() -> int:
            return max(10, int(ends_s - time.monotonic()) - 60)

        runs = {
            "slow": lambda: slow(target, 30),
            "hogs": lambda: hogs(target, 10),
            "many": lambda: many(target, min(given.seconds, left_s()), given.part),
        }
        for name in given.only:
            found = runs[name]()
            result(_FILE, _merged(name, facts, found))
            lost = found.get("replicas_lost") or found.get("5xx") or found.get("misdirected")
            ok &= bool(found.get("holds", not lost))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
