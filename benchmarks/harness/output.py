"""What a benchmark says while it runs, and the JSON document that it leaves."""

import json
import shlex
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.harness.machine import ROOT, commit, load_average, machine

RESULTS = ROOT / "benchmarks" / "results"


def say(line: object) -> None:
    """Prints a line of progress on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def command() -> str:
    """The command that started this process."""
    spec = sys.modules["__main__"].__spec__
    module = spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).name
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def run_facts() -> dict[str, Any]:
    """What no figure can be read without; taken before the run, which adds load of its own."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command(),
        "commit": commit(),
        "machine": machine(),
        "load_average": round(load_average(), 2),
    }


def result(path: Path | None, facts: Mapping[str, Any]) -> None:
    """Prints the facts as one JSON document; writes them to ``path`` too where it is given."""
    content = json.dumps(facts, indent=2) + "\n"
    if path is not None:
        path.write_text(content, encoding="utf-8")
    print(content, end="")
