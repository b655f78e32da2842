"""Adds the specification's fields to every log line.

Serve's JSON formatter writes every attribute of a record. Filters on its loggers add the service
and the deployment and, during a request, its correlation id and, if it is sampled, its trace.
The filters are not on its handlers, because Serve replaces those when a deployment's logging is
configured again, as after ``serve deploy``.
"""

import logging
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from importlib.metadata import version
from logging.handlers import MemoryHandler
from typing import Any, Protocol

from deployments.telemetry.spans import Trace


class LoggedRequest(Protocol):
    """The request that a line belongs to."""

    @property
    def correlation_id(self) -> str:
        """The caller's name for it, or ours."""
        ...

    @property
    def trace(self) -> Trace | None:
        """None if it is not sampled."""
        ...


_SERVE = logging.getLogger("ray.serve")
REQUEST: ContextVar[LoggedRequest | None] = ContextVar("sentigraph_request", default=None)


def add_request_fields(fields: MutableMapping[str, Any], request: LoggedRequest) -> None:
    """Adds the fields of one request."""
    fields["correlation_id"] = request.correlation_id
    if request.trace is not None:
        fields["trace_id"] = f"{request.trace.context.trace_id:032x}"
        fields["span_id"] = f"{request.trace.context.span_id:016x}"


class LogFields(logging.Filter):
    """Adds the fields to every record and has it written at once."""

    def __init__(self, service: Mapping[str, str]) -> None:
        super().__init__()
        self._service = service

    def filter(self, record: logging.LogRecord) -> bool:
        """Called once for each record, in the thread that logs it; always True."""
        for handler in _SERVE.handlers:
            if isinstance(handler, MemoryHandler):
                handler.flushLevel = logging.INFO
        fields = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
            **self._service,
        }
        if (request := REQUEST.get()) is not None:
            add_request_fields(fields, request)
        if record.exc_info and record.exc_info[0] is not None:
            fields["error_type"] = record.exc_info[0].__name__
        record.__dict__.update(fields)
        return True


def add_log_fields(service: str, component: str) -> dict[str, str]:
    """Gives the fields to every line that this replica writes through Serve's logger.

    In throughput mode Serve keeps up to a thousand lines in memory, for its line per request.
    Ours are written elsewhere (``access_log.py``), so the rest are few and are written at once.

    Returns:
        The fields that are the same in all lines.
    """
    fields = {"service": service, "version": version("sentigraph"), "component": component}
    # A logger's filters see only what is logged to it by name, not what its children hand up.
    for logger in (_SERVE, _SERVE.getChild("sentigraph")):
        logger.filters[:] = [kept for kept in logger.filters if not isinstance(kept, LogFields)]
        logger.addFilter(LogFields(fields))
    return fields
