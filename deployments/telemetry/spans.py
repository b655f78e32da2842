"""Spans of sampled requests as plain records, and the W3C trace context that joins them.

A request that is not sampled has no ``Trace``, and each stage checks for one before it does
anything. The spans of the tokenizer and the model come back in their answers, as the stage times
do, so only the ingress and the stream send spans to a collector. Nothing here depends on
OpenTelemetry.
"""

import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypedDict, TypeVar, Unpack

AttributeValue = str | int | float | bool
_Sampled = TypeVar("_Sampled")

_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})"
    r"-(?P<span>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_TRACESTATE = re.compile(r"[\x20-\x7e\t]{1,512}")
_SAMPLED = 1


@dataclass(frozen=True, slots=True)
class SpanContext:
    """What identifies a sampled span anywhere.

    Attributes:
        trace_id: 128 bits, not 0.
        span_id: 64 bits, not 0.
        state: ``tracestate`` as it came; empty without one.
    """

    trace_id: int
    span_id: int
    state: str = ""

    def child(self) -> "SpanContext":
        """A new span of the same trace."""
        return SpanContext(self.trace_id, _new_id(64), self.state)

    @property
    def traceparent(self) -> str:
        """As a W3C header."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"


@dataclass(frozen=True, slots=True)
class Span:
    """One finished span.

    Attributes:
        name: What was done.
        context: Its own.
        parent_id: Span id of its parent; 0 for the first of a trace.
        start_ns: Since the epoch, as ``end_ns``.
        attributes: Facts; never a text.
        links: Other spans that it has to do with.
        kind: ``internal``, ``server``, ``client`` or ``consumer``, as OpenTelemetry means them.
        error: Why it failed; empty if it did not.
        place: Deployment and process that did it.
    """

    name: str
    context: SpanContext
    parent_id: int
    start_ns: int
    end_ns: int
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    links: tuple[SpanContext, ...] = ()
    kind: str = "internal"
    error: str = ""
    place: tuple[str, str] = ("", "")


class SpanFacts(TypedDict, total=False):
    """The attributes of a ``Span`` that have defaults, as keyword arguments."""

    attributes: Mapping[str, AttributeValue]
    links: tuple[SpanContext, ...]
    kind: str
    error: str


def read_traceparent(parent: str | None, state: str | None) -> tuple[bool, SpanContext | None]:
    """Whether the caller has decided on sampling, and its span if that is sampled.

    A malformed header counts as none, as the W3C recommendation asks.
    """
    found = _TRACEPARENT.fullmatch(parent) if parent is not None else None
    if found is None or (found["version"] == "00" and found["more"]):
        return False, None
    if not int(found["flags"], 16) & _SAMPLED:
        return True, None
    passed = state if state is not None and _TRACESTATE.fullmatch(state) else ""
    return True, SpanContext(int(found["trace"], 16), int(found["span"], 16), passed)


def rows_of(sampled: Iterable[_Sampled | None]) -> dict[_Sampled, list[int]]:
    """Positions of each trace or span, in order; None, for what is not sampled, is left out.

    One request may have sent many texts, so one trace may have many positions.
    """
    rows: dict[_Sampled, list[int]] = {}
    for row, one in enumerate(sampled):
        if one is not None:
            rows.setdefault(one, []).append(row)
    return rows


def new_trace() -> SpanContext:
    """The first span of a new trace."""
    return SpanContext(_new_id(128), _new_id(64))


def done(
    name: str,
    deployment: str,
    parent: SpanContext,
    start_s: float,
    end_s: float,
    *,
    context: SpanContext | None = None,
    **facts: Unpack[SpanFacts],
) -> Span:
    """A finished child of ``parent``.

    Args:
        name: What was done.
        deployment: Which deployment did it.
        parent: The span that it is a part of.
        start_s: Of ``time.monotonic`` in this process, as ``end_s``.
        context: Its own; None for a new one.
        facts: The other attributes of ``Span``.
    """
    now_ns, now_s = time.time_ns(), time.monotonic()
    return Span(
        name,
        context or parent.child(),
        parent.span_id,
        now_ns - round((now_s - start_s) * 1e9),
        now_ns - round((now_s - end_s) * 1e9),
        place=(deployment, f"{socket.gethostname()}:{os.getpid()}"),
        **facts,
    )


class Trace:
    """A sampled request or message in progress. For one event loop.

    Attributes:
        context: Of its own span, the parent of all others.
    """

    def __init__(
        self, context: SpanContext, parent_id: int, deployment: str, emit: Callable[[Span], None]
    ) -> None:
        """Begins it; ``emit`` takes every finished span."""
        self.context = context
        self._parent = SpanContext(context.trace_id, parent_id)
        self._deployment = deployment
        self._emit = emit

    def add(
        self,
        name: str,
        start_s: float,
        end_s: float,
        *,
        context: SpanContext | None = None,
        **facts: Unpack[SpanFacts],
    ) -> None:
        """Emits the span of a finished part of the request; arguments as of ``done``."""
        parent = self.context
        self._emit(done(name, self._deployment, parent, start_s, end_s, context=context, **facts))

    def adopt(self, spans: Iterable[Span]) -> None:
        """Emits spans that came back with an RPC's answer."""
        for span in spans:
            self._emit(span)

    def end(self, name: str, start_s: float, **facts: Unpack[SpanFacts]) -> None:
        """Emits the span of the request itself, which ends now."""
        own, parent, end_s = self.context, self._parent, time.monotonic()
        self._emit(done(name, self._deployment, parent, start_s, end_s, context=own, **facts))


def _new_id(bits: int) -> int:
    return secrets.randbits(bits) or 1
