"""OpenTelemetry spans from the request to each batch. Without an SDK in the process they cost next to nothing and go nowhere.

The request's span is FastAPI's. Beneath it lie the parts of a request (decode, sample, encode), each question to the network
(`rddm.step`), and the batch that it went out with (`rddm.batch`), which is linked to every question that shared it. A server that
the batch is sent to is told of that span, and its own lie beneath.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace import Link, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.engines.contract import Array, Engine, Ticket

TRACER = trace.get_tracer("rddm")
W3C = TraceContextTextMapPropagator()
QUIET_PATHS = {"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"}


def is_quiet(scope: Any) -> bool:
    """Requests that come every few seconds and tell nothing."""
    return scope.get("path") in QUIET_PATHS


@contextmanager
def within(headers: Mapping[str, str]) -> Iterator[None]:
    """The block belongs to the trace that the headers name: logged and passed on also where no SDK has begun a span for it."""
    begun = trace.get_current_span().get_span_context().is_valid
    token = context.attach(context.get_current() if begun else W3C.extract(headers))
    try:
        yield
    finally:
        context.detach(token)


def _has_sdk() -> bool:
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _is_traced() -> bool:
    """Whether anybody would see a span: an SDK in this process, or whoever began the trace that this belongs to."""
    return _has_sdk() or trace.get_current_span().get_span_context().is_valid


def part_span(name: str) -> AbstractContextManager[object]:
    """The span of a part of a request, where anybody would see it."""
    return TRACER.start_as_current_span(name) if _is_traced() else nullcontext()


class StepSpans:
    """The spans of the questions that wait for an answer, by request."""

    def __init__(self) -> None:
        self._spans: dict[str, SpanContext] = {}
        self._open: Counter[str] = Counter()

    def enter(self, request: str, span: SpanContext) -> None:
        """A question of the request was asked in this span."""
        if span.is_valid:
            self._spans[request] = span
            self._open[request] += 1

    def leave(self, request: str) -> None:
        """One was answered."""
        if request in self._open:
            self._open[request] -= 1
            if not self._open[request]:
                del self._open[request], self._spans[request]

    def of(self, requests: str) -> list[SpanContext]:
        """The spans of a batch's requests, which its ticket joins with `+`."""
        return [self._spans[request] for request in requests.split("+") if request in self._spans]


class TracedSteps:
    """An engine in front of the scheduler."""

    def __init__(self, engine: Engine, step_spans: StepSpans) -> None:
        self._engine = engine
        self._step_spans = step_spans

    async def predict(self, x_t: Array, condition: Array | None, time: Array, ticket: Ticket) -> tuple[Array, ...]:
        """See service.engines.contract.Engine."""
        if not _is_traced():
            return await self._engine.predict(x_t, condition, time, ticket)
        with TRACER.start_as_current_span("rddm.step", attributes=_facts(x_t, ticket)) as span:
            self._step_spans.enter(ticket.request, span.get_span_context())
            try:
                return await self._engine.predict(x_t, condition, time, ticket)
            finally:
                self._step_spans.leave(ticket.request)


class TracedBatches:
    """An engine behind the scheduler. A batch belongs to the first question's trace and is linked to the others'."""

    def __init__(self, engine: Engine, step_spans: StepSpans) -> None:
        self._engine = engine
        self._step_spans = step_spans

    async def predict(self, x_t: Array, condition: Array | None, time: Array, ticket: Ticket) -> tuple[Array, ...]:
        """See service.engines.contract.Engine."""
        asked = self._step_spans.of(ticket.request)
        if not asked and not _is_traced():
            return await self._engine.predict(x_t, condition, time, ticket)
        # The task of a batch was begun by any of its callers, or by another's: what trace that one belongs to means nothing here.
        parent = trace.set_span_in_context(trace.NonRecordingSpan(asked[0]) if asked else trace.INVALID_SPAN)
        if not asked and not _has_sdk():
            with trace.use_span(trace.INVALID_SPAN):
                return await self._engine.predict(x_t, condition, time, ticket)
        links = [Link(span) for span in asked[1:]]
        with TRACER.start_as_current_span("rddm.batch", parent, attributes=_facts(x_t, ticket), links=links):
            return await self._engine.predict(x_t, condition, time, ticket)


def _facts(x_t: Array, ticket: Ticket) -> dict[str, str | int]:
    rows, _, height, width = x_t.shape
    return {
        "rddm.model": ticket.weights.name,
        "rddm.version": ticket.weights.version,
        "rddm.rows": int(rows),
        "rddm.height": int(height),
        "rddm.width": int(width),
    }
