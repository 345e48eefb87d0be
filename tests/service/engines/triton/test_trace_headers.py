"""The trace that a call belongs to, as W3C's headers tell it."""

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from service.engines.triton.trace_headers import trace_headers


def test_the_current_span_is_named() -> None:
    span = NonRecordingSpan(SpanContext(0xABC, 0x123, is_remote=False, trace_flags=TraceFlags(1)))
    with trace.use_span(span):
        assert trace_headers() == {"traceparent": f"00-{0xABC:032x}-{0x123:016x}-01"}


def test_outside_of_a_trace_nothing_is() -> None:
    assert trace_headers() == {}
