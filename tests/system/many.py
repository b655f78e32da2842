"""Hostile requests over all doors of a guarded stack; part of ``tests.system.attack``.

Doors: the application over HTTP as every identity, raw sockets, gRPC, the replicas' own HTTP ports
and MLflow without its login. What must hold: no process is lost, nothing is answered with 5xx, to
another request, or to those that the route is closed to; memory and descriptors stay flat.
"""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import uvloop

from benchmarks.harness.machine import ROOT, load_average
from benchmarks.harness.output import say
from benchmarks.harness.processes import command_line, cpu_s, memory_mb
from configs.schema.access import Role
from operations.local_stack.ports import is_free
from operations.local_stack.processes import MARK, belonging
from tests.system import hostile_grpc, hostile_http
from tests.system.guarded import Guarded
from tests.system.pipelines import Numbers, Seen, Template, send_all, template

PARTS = 20
# More in the second half of the run is no matter of free pages or of caches that fill.
MOST_GROWTH_MB, MOST_MORE_DESCRIPTORS = 8.0, 16
_TEMPLATES = 6_000
_CONNECTIONS = 24
_TITLE = re.compile(r"ray::ServeReplica:\w+:(\w+)")
_SERVERS = ("raylet", "gcs_server", "haproxy", "mlflow")
_MLFLOW = "/api/2.0/mlflow"
_MLFLOW_PATHS = (
    f"{_MLFLOW}/registered-models/create",
    f"{_MLFLOW}/registered-models/delete",
    f"{_MLFLOW}/runs/delete",
    f"{_MLFLOW}-artifacts/artifacts/planted",
)


def many(guarded: Guarded, requests: int, within_s: float) -> dict[str, Any]:
    """Sends so many requests, or what can be sent in time."""
    seen = {name: Seen() for name in ("application", "replicas' own ports", "MLflow")}
    before = servers(guarded)
    numbers = Numbers(requests * 92 // 100, time.monotonic() + within_s)
    watch = Watch(before, requests, numbers)
    began_s, client_s, server_s = time.monotonic(), time.process_time(), cpu_s(before)

    async def run() -> Sequence[Mapping[str, Any]]:
        ingress = next(pid for pid, name in before.items() if name == "Ingress")
        url, grpc = guarded.stack.url, guarded.stack.grpc_address
        key = guarded.keys["predict"]
        watching = asyncio.create_task(watch.run(seen["application"]))
        web, calls, *_ = await asyncio.gather(
            hostile_http.attack(url, "sentiment", requests // 50, 8, ingress, key),
            hostile_grpc.attack(grpc, requests // 25, 8, key),
            send_all(
                guarded.port, application(guarded), numbers, _CONNECTIONS, seen["application"]
            ),
            *doors(guarded, requests, within_s, seen),
        )
        watching.cancel()
        return web, calls

    web, calls = uvloop.run(run())
    seconds = time.monotonic() - began_s
    sent = sum(each.count for each in seen.values()) + web["sent"] + calls["sent"]
    kinds = ("faults", "misdirected", "undue")
    found: dict[str, Any] = {
        "seconds": round(seconds),
        "sent": sent,
        "requests_per_s": round(sent / seconds, 1),
        "cores": {
            "client": round((time.process_time() - client_s) / seconds, 2),
            "servers": round((cpu_s(before) - server_s) / seconds, 2),
        },
        "load_average_at_the_end": round(load_average(), 2),
        "doors": {name: dict(sorted(each.answers.items())) for name, each in seen.items()},
        "raw": {name: web[name] for name in ("sent", "answers", "5xx", "bad_seeds")},
        "grpc": calls,
        "5xx": sum(len(e.faults) for e in seen.values()) + web["5xx"] + calls["servers_fault"],
        **{kind: [each for s in seen.values() for each in getattr(s, kind)][:20] for kind in kinds},
        "rows_cut_off": sum(each.cut_off for each in seen.values()),
        "lost": sorted(name for pid, name in before.items() if pid not in servers(guarded)),
        **watch.found(),
    }
    found["holds"] = not any(found[name] for name in ("5xx", "misdirected", "undue", "lost"))
    found["holds"] &= found["flat"] and sent >= 0.99 * requests
    return found


def servers(guarded: Guarded) -> dict[int, str]:
    """Process id to name of what must live and stay as it is."""
    found: dict[int, str] = {}
    for pid in sorted(belonging(guarded.stack.environ[MARK], set())):
        line = command_line(pid)
        if title := _TITLE.match(line):
            found[pid] = title[1]
            continue
        program = Path(line.split(" ", maxsplit=1)[0]).name
        names = [name for name in _SERVERS if name == program]
        if not names and "mlflow.server" in line:
            names = ["mlflow"]
        if names:
            found[pid] = names[0]
    return found


def application(guarded: Guarded) -> list[Template]:
    """Requests of every identity at every route."""
    document = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
    identities = {name: (f"X-API-Key: {guarded.keys[name]}",) for name in get_args(Role)} | {
        "none": (),
        "wrong": ("X-API-Key: 0123456789abcdef",),
        "expired": (f"X-API-Key: {guarded.keys['expired']}",),
        "bearer": ("Authorization: Bearer e30.e30.e30",),
    }
    paths = ["/", "/metrics", "/console", "/v2", *document["paths"]]
    return [template(seed, paths, identities) for seed in range(_TEMPLATES)]


def doors(guarded: Guarded, requests: int, within_s: float, seen: Mapping[str, Seen]) -> list[Any]:
    """The two that nobody should use: 1 % of the requests each."""
    low, high = (
        int(guarded.stack.environ[f"RAY_SERVE_DIRECT_INGRESS_{end}_HTTP_PORT"])
        for end in ("MIN", "MAX")
    )
    own = next(port for port in range(low, high + 1) if not is_free(port))
    mlflow = urlsplit(guarded.stack.mlflow_url).port or 0
    beside = [template(seed, ["/api/v1/predict"], {"none": ()}) for seed in range(500)]
    behind = [template(seed, _MLFLOW_PATHS, {"none": ()}) for seed in range(500)]
    ends_s = time.monotonic() + within_s
    return [
        send_all(port, templates, Numbers(requests // 100, ends_s), 2, seen[name])
        for port, templates, name in (
            (own, beside, "replicas' own ports"),
            (mlflow, behind, "MLflow"),
        )
    ]


class Watch:
    """Memory and descriptors of processes, by twentieths of the requests."""

    def __init__(self, pids: Mapping[int, str], requests: int, numbers: Numbers) -> None:
        self._pids, self._requests, self._numbers = pids, requests, numbers
        # The least of each part: free memory is given back in teeth.
        self._mb: list[dict[int, float]] = [{} for _ in range(PARTS)]
        self._files: list[dict[int, int]] = [{} for _ in range(PARTS)]

    async def run(self, seen: Seen) -> None:
        """Looks every two seconds, and says how far it is."""
        part, began_s = -1, time.monotonic()
        while True:
            now = min(PARTS - 1, seen.count * PARTS // max(1, self._requests * 92 // 100))
            if now != part:
                part = now
                rate = seen.count / (time.monotonic() - began_s)
                bad = len(seen.faults), len(seen.misdirected), len(seen.undue), seen.cut_off
                say(
                    f"{seen.count} answers, {rate:.0f}/s; 5xx, misdirected, undue, cut off: {bad}; "
                    f"client {time.process_time():.0f} s of CPU"
                )
            mb, files = self._mb[part], self._files[part]
            for pid in self._pids:
                mb[pid] = min(mb.get(pid, float("inf")), memory_mb([pid])[0])
                files[pid] = min(files.get(pid, 1 << 30), _descriptors(pid))
            await asyncio.sleep(2)

    def found(self) -> dict[str, Any]:
        """By process: marks, and whether the second half is flat."""
        marks: dict[str, Any] = {}
        flat, count = True, Counter[str]()
        for pid, name in self._pids.items():
            count[name] += 1
            mb = [part[pid] for part in self._mb if pid in part]
            files = [part[pid] for part in self._files if pid in part]
            half = len(mb) // 2
            growth = hostile_http.growth(mb[half:]) if len(mb[half:]) > 3 else {}
            more = max(files[half:]) - max(files[:half] or files)
            grown = growth.get("grown_mb", 0.0) - growth.get("plus_minus_mb", 0.0)
            flat &= grown < MOST_GROWTH_MB and more <= MOST_MORE_DESCRIPTORS
            marks[f"{name} {count[name]}"] = {
                "mb": mb,
                "second_half": growth,
                "descriptors": [files[0], max(files), files[-1]],
            }
        return {"processes": marks, "flat": flat}


def _descriptors(pid: int) -> int:
    with suppress(OSError):
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return 0
