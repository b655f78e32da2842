"""What the Registry deployment of a stack logged with a new routing table."""

import json
from pathlib import Path
from typing import Any


def steps_of(logs: Path, version: int, since_s: float) -> dict[str, Any]:
    """The line of the latest table with that champion, if its move was seen since; else empty."""
    (log,) = (logs / "ray" / "serve").glob("replica_*_Registry_*.log")
    for line in reversed(log.read_text(encoding="utf-8").splitlines()):
        told = json.loads(line)
        if told.get("model_version") == version and told.get("seen_at_s", 0.0) > since_s - 1:
            return dict(told)
    return {}
