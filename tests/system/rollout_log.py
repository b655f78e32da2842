"""What the Registry deployment of a stack logged with a new routing table."""

import json
from pathlib import Path
from typing import Any


def steps_of(logs: Path, version: int, since_s: float) -> dict[str, Any]:
    """The line of the latest table with that champion, if its move was seen since; else empty."""
    found: dict[str, Any] = {}
    # A file for each Registry replica that ever was.
    for log in (logs / "ray" / "serve").glob("replica_*_Registry_*.log"):
        for line in log.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            seen_s = entry.get("seen_at_s", 0.0)
            if entry.get("model_version") == version and seen_s > since_s - 1:
                found = max(found, entry, key=lambda one: one.get("seen_at_s", 0.0))
    return found
