"""W3C trace context and the decision at the door. Pure."""

from collections.abc import Mapping

import pytest

from configs.schema.tracing import TracingConfig
from deployments.telemetry.spans import Span, Trace, read_traceparent
from deployments.telemetry.tracer import Tracer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{SPAN}-01"


def tracer(chance: float = 0.5, **changes: object) -> tuple[Tracer, list[Span]]:
    emitted: list[Span] = []
    config = TracingConfig.model_validate(changes)
    return Tracer(config, "Ingress", emitted.append, chance=lambda: chance), emitted


def begin(
    made: Tracer, headers: Mapping[str, str] | None = None, path: str = "/api/v1/predict"
) -> Trace | None:
    return made.begin(path, (headers or {}).get)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-1",
        f" 00-{TRACE}-{SPAN}-01",
        "x" * 10_000,
    ],
)
def test_a_malformed_traceparent_counts_as_none(header: str) -> None:
    assert read_traceparent(header, None) == (False, None)


def test_the_flag_of_the_caller_is_read() -> None:
    decided, context = read_traceparent(SAMPLED, "vendor=1")
    assert decided
    assert context is not None
    assert context.traceparent == SAMPLED
    assert context.state == "vendor=1"
    assert read_traceparent(f"00-{TRACE}-{SPAN}-00", None) == (True, None)
    # Only one of the flags says sampled; a later version may add fields.
    assert read_traceparent(f"00-{TRACE}-{SPAN}-fe", None) == (True, None)
    assert read_traceparent(f"01-{TRACE}-{SPAN}-03-more", None)[1] is not None
    # State that is none is left out, and the trace goes on.
    assert read_traceparent(SAMPLED, "ä") == (True, read_traceparent(SAMPLED, None)[1])


def test_chance_decides_where_the_caller_has_not() -> None:
    always, _ = tracer(0.0099, sample_ratio=0.01)
    never, _ = tracer(0.01, sample_ratio=0.01)
    assert begin(always) is not None
    assert begin(never) is None
    assert begin(always, {"traceparent": "nonsense"}) is not None
    assert begin(never, {"traceparent": "nonsense"}) is None
    assert begin(tracer(0.999999, sample_ratio=1)[0]) is not None
    assert begin(tracer(0.0, sample_ratio=0)[0]) is None


def test_the_caller_decides_where_it_has() -> None:
    never, emitted = tracer(sample_ratio=0)
    always, _ = tracer(sample_ratio=1)
    assert begin(always, {"traceparent": f"00-{TRACE}-{SPAN}-00"}) is None
    trace = begin(never, {"traceparent": SAMPLED, "tracestate": "a=b"})
    assert trace is not None
    trace.end("request", 0.0, kind="server", attributes={})
    (span,) = emitted
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent_id:016x}" == SPAN
    assert span.context.state == "a=b"
    assert span.context.span_id != span.parent_id


@pytest.mark.parametrize(
    ("path", "traced"),
    [
        ("/api/v1/predict", True),
        ("/api/v1/health", False),
        ("/api/v1/health/ready", False),
        ("/metrics", False),
        ("/api/v1/healthanything", True),
    ],
)
def test_excluded_paths(path: str, traced: bool) -> None:
    made, _ = tracer(sample_ratio=1)
    assert (begin(made, path=path) is not None) is traced
    assert begin(tracer(sample_ratio=1, excluded_paths=())[0], path=path) is not None


def test_a_new_trace_has_no_parent() -> None:
    made, emitted = tracer(sample_ratio=1)
    trace = begin(made)
    assert trace is not None
    trace.add("part", 1.0, 2.0)
    trace.end("request", 1.0, kind="server", attributes={})
    part, whole = emitted
    assert whole.parent_id == 0
    assert part.parent_id == whole.context.span_id
    assert part.context.trace_id == whole.context.trace_id != 0
    assert part.end_ns - part.start_ns == pytest.approx(1e9, abs=2)
