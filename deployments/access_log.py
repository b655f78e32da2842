"""One JSON line per request, at the price of a list append.

Python's logging builds a record, a caller's frame and a formatted string for each line:
about 0.1 ms here, a tenth of what the ingress spends on a request. So lines are collected
and handed to the logger many at a time. The text is never in them, only its route.
"""

import asyncio
import logging
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

import orjson

LOGGER = "sentigraph.access"
_FLUSH_S = 0.5
_FLUSH_LINES = 512
_MAX_BYTES = 256 << 20
_BACKUPS = 4


class AccessLog:
    """Collects lines and writes them at most half a second later. For one event loop."""

    def __init__(self, file: Path | None) -> None:
        """Lines go to ``file``, turned over at 256 MiB; without one, to the root logger."""
        self._logger = logging.getLogger(LOGGER)
        self._logger.setLevel(logging.INFO)
        self._lines: list[bytes] = []
        if file is not None:
            handler = RotatingFileHandler(
                file, maxBytes=_MAX_BYTES, backupCount=_BACKUPS, encoding="utf-8", delay=True
            )
            handler.setFormatter(logging.Formatter("%(message)s"))
            self._logger.addHandler(handler)
            self._logger.propagate = False

    def add(
        self, method: str, route: str, status: int, elapsed_s: float, correlation_id: str
    ) -> None:
        """Notes one answered request."""
        self._lines.append(
            orjson.dumps(
                {
                    "timestamp": datetime.now(UTC),
                    "message": "request",
                    "http_method": method,
                    "http_path": route,
                    "http_status": status,
                    "duration_ms": round(elapsed_s * 1_000, 2),
                    "correlation_id": correlation_id,
                }
            )
        )
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)
        elif len(self._lines) >= _FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Writes what is there."""
        if self._lines:
            self._logger.info(b"\n".join(self._lines).decode("utf-8"))
            self._lines.clear()


def beside_the_replica_log() -> Path | None:
    """``access_….log`` beside the file that Serve logs this replica to; None outside of one."""
    for handler in logging.getLogger("ray.serve").handlers:
        target = getattr(handler, "target", None) or handler
        file = getattr(target, "baseFilename", None)
        if file is not None:
            path = Path(file)
            return path.with_name(f"access_{path.name}")
    return None
