"""One JSON line per request, at the price of a list append.

Python's logging builds a record, a caller's frame and a formatted string for each line:
about 0.1 ms here, a tenth of what the ingress spends on a request. So lines are collected
and handed to the logger many at a time. The text is never in them, only its length.
"""

import asyncio
import logging
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

import orjson

from deployments.asgi.exchange import Exchange
from deployments.telemetry.log_context import add_request_fields

LOGGER = "sentigraph.access"
_FLUSH_S = 0.5
_FLUSH_LINES = 512
_MAX_BYTES = 256 << 20
_BACKUPS = 4


class AccessLog:
    """Collects lines and writes them at most half a second later. For one event loop."""

    def __init__(self, file: Path | None, service: dict[str, str]) -> None:
        """Makes a log.

        Args:
            file: Turned over at 256 MiB; without one, lines go to the root logger.
            service: Fields of every line.
        """
        fixed = orjson.dumps({"event": "request", "level": "INFO", "logger": LOGGER, **service})
        self._begin = fixed[:-1] + b","
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

    def add(self, exchange: Exchange, elapsed_s: float) -> None:
        """Notes one answered request."""
        line: dict[str, object] = {
            "timestamp": datetime.now(UTC),
            "http_method": exchange.scope["method"],
            "http_path": exchange.endpoint,
            "http_status": exchange.status,
            "duration_ms": round(elapsed_s * 1_000, 2),
        }
        add_request_fields(line, exchange)
        if exchange.served is not None:
            exchange.served.add_fields(line)
        if exchange.error_code:
            line["error_code"] = exchange.error_code
        # What is the same in all lines is encoded once.
        self._lines.append(self._begin + orjson.dumps(line)[1:])
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
