"""OpenTelemetry spans from the request to each batch. Without an SDK in the process they cost next to nothing and go nowhere.

The request's span is FastAPI's. Beneath it lie the parts of a request (decode, sample, encode), each question to the network
(`rddm.step`), and the batch that it went out with (`rddm.batch`), which is linked to every question that shared it. A server that
the batch is sent to gets that span in its headers, and its own lie beneath.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace import Link, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.engines.contract import Array, Ticket

TRACER = trace.get_tracer("rddm")
W3C = TraceContextTextMapPropagator()
QUIET_PATHS = {"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"}


def is_quiet(scope: Any) -> bool:
    """Requests that come every few seconds and tell nothing."""
    return scope.get("path") in QUIET_PATHS


@contextmanager
def within(headers: Mapping[str, str]) -> Iterator[None]:
    """The block belongs to the trace that the headers name: logged and passed on also where no SDK has started a span for it."""
    has_span = current_span().is_valid
    token = context.attach(context.get_current() if has_span else W3C.extract(headers))
    try:
        yield
    finally:
        context.detach(token)


def _has_sdk() -> bool:
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _is_traced() -> bool:
    """Whether anybody would see a span: an SDK in this process, or the sender of the trace that this belongs to."""
    return _has_sdk() or current_span().is_valid


def part_span(name: str) -> AbstractContextManager[object]:
    """The span of a part of a request, where anybody would see it."""
    return TRACER.start_as_current_span(name) if _is_traced() else nullcontext()


def step_span(x_t: Array, ticket: Ticket) -> AbstractContextManager[object]:
    """The span of one question to the network, where anybody would see it."""
    return TRACER.start_as_current_span("rddm.step", attributes=_facts(x_t, ticket)) if _is_traced() else nullcontext()


def current_span() -> SpanContext:
    """The span that the caller works in; an invalid one where it works in none."""
    return trace.get_current_span().get_span_context()


def batch_span(x_t: Array, ticket: Ticket, questions: Sequence[SpanContext]) -> AbstractContextManager[object]:
    """The span of a batch: it belongs to the trace of its first question and is linked to the others.

    The task of a batch belongs to any of its callers, or to another one: the trace of that task means nothing here.
    """
    asked = [span for span in questions if span.is_valid]
    if not asked and not _is_traced():
        return nullcontext()
    if not asked and not _has_sdk():
        return trace.use_span(trace.INVALID_SPAN)
    parent = trace.set_span_in_context(trace.NonRecordingSpan(asked[0]) if asked else trace.INVALID_SPAN)
    links = [Link(span) for span in asked[1:]]
    return TRACER.start_as_current_span("rddm.batch", parent, attributes=_facts(x_t, ticket), links=links)


def _facts(x_t: Array, ticket: Ticket) -> dict[str, str | int]:
    rows, _, height, width = x_t.shape
    return {
        "rddm.model": ticket.weights.name,
        "rddm.version": ticket.weights.version,
        "rddm.rows": int(rows),
        "rddm.height": int(height),
        "rddm.width": int(width),
    }
