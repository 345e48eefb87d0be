"""The trace that a call belongs to, as headers of the call."""

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

W3C = TraceContextTextMapPropagator()


def trace_headers() -> dict[str, str]:
    """The W3C headers (traceparent, tracestate) of the current span; none outside of a trace."""
    headers: dict[str, str] = {}
    W3C.inject(headers)
    return headers
