"""Spans of questions and batches, without an SDK: what is passed on."""

from typing import Any

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from service.engines.contract import Ticket
from service.telemetry import tracing
from service.telemetry.tracing import QUIET_PATHS, StepSpans, TracedBatches, TracedSteps, is_quiet, part_span, within
from tests.service.serving import RESTORER, model

X_T = np.zeros((1, 3, 8, 8), np.float32)
HEADERS = {"traceparent": f"00-{7:032x}-{5:016x}-01"}


@pytest.fixture(autouse=True)
def _without_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another test of this process may have installed one, which stays for good."""
    monkeypatch.setattr(tracing, "TRACER", trace.NoOpTracer())
    monkeypatch.setattr(tracing, "_has_sdk", lambda: False)


def span(number: int) -> SpanContext:
    return SpanContext(number, number, is_remote=False, trace_flags=TraceFlags(1))


def ticket(request: str) -> Ticket:
    return Ticket(model(RESTORER).weights, request, "caller")


class Noting:
    """An engine that notes the trace in which it was asked."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    async def predict(self, x_t: Any, *_: Any) -> tuple[Any, ...]:
        self.seen.append(trace.get_current_span().get_span_context().trace_id)
        return (x_t,)


def test_a_request_belongs_to_the_trace_that_its_headers_name() -> None:
    with within(HEADERS):
        assert trace.get_current_span().get_span_context().trace_id == 7
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_span_that_was_begun_is_kept() -> None:
    with trace.use_span(NonRecordingSpan(span(9))), within(HEADERS):
        assert trace.get_current_span().get_span_context().trace_id == 9


@pytest.mark.parametrize("headers", [{}, {"traceparent": "garbage"}])
def test_headers_that_name_no_trace_begin_none(headers: dict[str, str]) -> None:
    with within(headers), part_span("rddm.decode"):
        assert not trace.get_current_span().get_span_context().is_valid


def test_the_spans_of_a_batch_are_those_of_its_requests_that_still_wait() -> None:
    spans = StepSpans()
    for request, number in (("a", 1), ("b", 2), ("a", 3)):
        spans.enter(request, span(number))
    spans.enter("c", trace.INVALID_SPAN_CONTEXT)
    assert spans.of("a+b+c") == [span(3), span(2)]
    spans.leave("a")
    assert spans.of("a") == [span(3)]
    for request in ("a", "b", "c"):
        spans.leave(request)
    assert spans.of("a+b+c") == []


async def test_a_batch_belongs_to_the_trace_of_its_first_question() -> None:
    engine, spans = Noting(), StepSpans()
    spans.enter("a", span(1))
    spans.enter("b", span(2))
    with trace.use_span(NonRecordingSpan(span(9))):
        await TracedBatches(engine, spans).predict(X_T, None, X_T, ticket("a+b"))
    assert engine.seen == [1]


async def test_a_batch_of_no_traced_question_belongs_to_no_trace_whoevers_task_it_is() -> None:
    engine = Noting()
    with trace.use_span(NonRecordingSpan(span(9))):
        await TracedBatches(engine, StepSpans()).predict(X_T, None, X_T, ticket("a"))
    assert engine.seen == [0]


async def test_a_question_is_known_while_it_waits_and_no_longer() -> None:
    spans, engine = StepSpans(), Noting()
    with within(HEADERS):
        await TracedSteps(engine, spans).predict(X_T, None, X_T, ticket("a"))
    assert (engine.seen, spans.of("a")) == ([7], [])
    await TracedSteps(engine, spans).predict(X_T, None, X_T, ticket("a"))
    assert engine.seen == [7, 0]


def test_probes_are_quiet() -> None:
    assert all(is_quiet({"path": path}) for path in QUIET_PATHS)
    assert not is_quiet({"path": "/restore"})
