"""Spans of questions and batches, without an SDK: what is passed on."""

from contextlib import AbstractContextManager

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from service.engines.contract import Ticket
from service.telemetry import tracing
from service.telemetry.tracing import QUIET_PATHS, batch_span, current_span, is_quiet, part_span, step_span, within
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


def test_a_request_belongs_to_the_trace_that_its_headers_name() -> None:
    with within(HEADERS):
        assert trace.get_current_span().get_span_context().trace_id == 7
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_span_that_was_started_is_kept() -> None:
    with trace.use_span(NonRecordingSpan(span(9))), within(HEADERS):
        assert trace.get_current_span().get_span_context().trace_id == 9


@pytest.mark.parametrize("headers", [{}, {"traceparent": "garbage"}])
def test_headers_that_name_no_trace_start_none(headers: dict[str, str]) -> None:
    with within(headers), part_span("rddm.decode"):
        assert not trace.get_current_span().get_span_context().is_valid


def trace_in(spans: AbstractContextManager[object]) -> int:
    """The trace to which the block of a span belongs."""
    with spans:
        return current_span().trace_id


def test_a_batch_belongs_to_the_trace_of_its_first_question() -> None:
    with trace.use_span(NonRecordingSpan(span(9))):
        assert trace_in(batch_span(X_T, ticket("a+b"), [trace.INVALID_SPAN_CONTEXT, span(1), span(2)])) == 1


def test_a_batch_of_no_traced_question_belongs_to_no_trace_whatever_task_runs_it() -> None:
    with trace.use_span(NonRecordingSpan(span(9))):
        assert trace_in(batch_span(X_T, ticket("a"), [trace.INVALID_SPAN_CONTEXT])) == 0


def test_a_question_belongs_to_the_trace_of_its_request() -> None:
    with within(HEADERS):
        assert trace_in(step_span(X_T, ticket("a"))) == 7
    assert trace_in(step_span(X_T, ticket("a"))) == 0


def test_probes_are_quiet() -> None:
    assert all(is_quiet({"path": path}) for path in QUIET_PATHS)
    assert not is_quiet({"path": "/restore"})
