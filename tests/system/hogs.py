"""One caller that takes what it can beside one that wants half; part of ``tests.system.attack``.

What the victim gets alone is measured before and after each hog: the machine may be busy.
"""

import itertools
import json
import random
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.harness.output import say
from benchmarks.loadgen.background import BackgroundLoad, numbered_bodies
from tests.system.guarded import Guarded

LEAST_SHARE = 0.8
_BATCH, _OIP = "/api/v1/predict/batch", "/v2/models/sentiment/infer"
_TEXT = "The parcel came late and the box was open"
_VICTIMS_BATCH = 20


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


_INTERACTIVE = {"X-Priority": "interactive"}
HOGS: dict[str, tuple[str, Any, dict[str, str], int]] = {
    # Name: path, bodies, headers, connections.
    "bulk batches of 500": (_BATCH, lambda: _batches(500, 40), {}, 5),
    "interactive batches of 500": (_BATCH, lambda: _batches(500, 40), _INTERACTIVE, 5),
    "interactive single texts": ("/api/v1/predict", lambda: numbered_bodies([_TEXT]), {}, 64),
    "long texts": (_BATCH, lambda: _batches(40, 3_000), _INTERACTIVE, 8),
    "open inference": (_OIP, lambda: _oip(200), _INTERACTIVE, 8),
    # Last, for its jobs go on.
    "batch jobs": ("/api/v1/batch/predict", lambda: _batches(1_000, 40), {}, 2),
}


def hogs(guarded: Guarded, seconds: int) -> dict[str, Any]:
    """What a victim gets beside each hog, of half of what it gets alone."""

    def texts_per_s() -> float:
        with BackgroundLoad(
            guarded.stack.url,
            _batches(_VICTIMS_BATCH, 40),
            clients=24,
            path=_BATCH,
            headers=guarded.header("victim"),
        ) as load:
            time.sleep(3)
            before = load.statuses["200"]
            time.sleep(seconds)
            return (load.statuses["200"] - before) * _VICTIMS_BATCH / seconds

    texts_per_s()  # the engines' prices are learned
    alone = texts_per_s()
    found: dict[str, Any] = {}
    for name, (path, bodies, headers, clients) in HOGS.items():
        with BackgroundLoad(
            guarded.stack.url,
            bodies(),
            clients=clients,
            pause_s=0.02,
            path=path,
            headers={**guarded.header("hog"), **headers},
        ):
            time.sleep(2)
            got = texts_per_s()
        afterwards = alone if name == "batch jobs" else texts_per_s()
        share = got / ((alone + afterwards) / 4)
        found[name] = {
            "alone_texts_per_s": [alone, afterwards],
            "victim_texts_per_s": round(got, 1),
            "of_half": round(share, 2),
        }
        say(f"beside {name}: {share:.2f} of half; alone {alone:.0f}, {afterwards:.0f} texts/s")
        alone = afterwards
    return {
        "seconds": seconds,
        "hogs": found,
        "holds": all(each["of_half"] >= LEAST_SHARE for each in found.values()),
    }
