"""Errors and warnings in the last lines of the replicas' logs. Pure."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from operations.clients.ray_details import Deployment

Json = dict[str, Any]
_MESSAGE_CHARS = 160
_BUSY = "Failed to get queue length from Replica"
_NUMBERS = re.compile(r"[0-9a-f]*\d[0-9a-f]*", re.IGNORECASE)


def mishaps_of(log: str, deployment: Deployment, replica: str) -> list[Json]:
    """Errors and warnings among the lines of a replica's JSON log; other lines are left out.

    So is what Serve's routers warn of on a busy machine: the ingress itself asks the replicas.
    """
    found = []
    for line in log.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if not isinstance(record, dict) or record.get("levelname") not in ("WARNING", "ERROR"):
            continue
        at = datetime.fromtimestamp(record.get("timestamp_ns", 0) / 1e9, UTC)
        message = " ".join(str(record.get("message", "")).split())
        if message.startswith(_BUSY):
            continue
        found.append(
            {
                "at": at.isoformat(timespec="seconds"),
                "deployment": deployment.name,
                "replica": replica,
                "level": record["levelname"],
                "message": message[:_MESSAGE_CHARS],
            }
        )
    return found


def distinct(mishaps: list[Json]) -> list[Json]:
    """Each message of a deployment once, oldest first: the last time, and how often it came.

    Numbers and identifiers in a message do not make it another one.
    """
    found: dict[tuple[str, str], Json] = {}
    for mishap in sorted(mishaps, key=lambda mishap: str(mishap["at"])):
        key = (str(mishap["deployment"]), _NUMBERS.sub("#", str(mishap["message"])))
        times = found.pop(key, {"times": 0})["times"] + 1
        found[key] = {**mishap, "times": times}
    return list(found.values())
