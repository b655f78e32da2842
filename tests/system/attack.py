"""Part of ``make abuse``: cheap attackers beside legitimate callers, on a stack with access on.

``slow``: connections that drip headers and uploads, beside 50 requests in a second.
``hogs``: a caller with every class, size and door beside one that wants its half.
``many``: hostile requests of all identities over all doors. Writes ``results/attack.json``; exit
status 1 when something does not hold. Loopback only.
"""

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.harness.output import RESULTS, result, run_facts
from tests.system.guarded import guarded
from tests.system.hogs import hogs
from tests.system.many import many
from tests.system.slow_senders import slow

_FILE = RESULTS / "attack.json"


def _beside_earlier(name: str, found: dict[str, Any]) -> dict[str, Any]:
    content = json.loads(_FILE.read_text(encoding="utf-8")) if _FILE.is_file() else {}
    return content | {name: found}


def main() -> int:
    """Runs what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", default=["slow", "hogs", "many"])
    parser.add_argument("--seconds", type=int, default=30, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=2, help="of slow: calm, attack, calm, …")
    parser.add_argument("--requests", type=int, default=1_000_000, help="of many")
    parser.add_argument("--within", type=float, default=3_600, help="seconds for many")
    given = parser.parse_args()
    facts, ok = run_facts(), True
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        target = guarded(Path(folder), stack)
        runs = {
            "slow": lambda: slow(target, given.seconds, given.rounds),
            "hogs": lambda: hogs(target, given.seconds),
            "many": lambda: many(target, given.requests, given.within),
        }
        for name in given.only:
            found = runs[name]()
            result(_FILE, _beside_earlier(name, facts | found))
            ok &= bool(found["holds"])
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
