"""What is seen from outside: metrics, logs and traces, and what none of them holds."""

import asyncio
import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from service.engines.contract import Ticket
from service.engines.triton.trace_headers import trace_headers
from service.telemetry.logs import JsonLines
from service.telemetry.tracing import batch_span
from tests.service.conftest import RunningApp, running
from tests.service.serving import FakeServingEngine
from tests.service.test_keys import with_keys


@pytest.fixture(scope="module")
def exported() -> InMemorySpanExporter:
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(exported: InMemorySpanExporter) -> InMemorySpanExporter:
    exported.clear()
    return exported


async def test_a_trace_goes_from_the_door_to_the_batch_of_each_step(
    spans: InMemorySpanExporter, gateway: RunningApp, png: bytes
) -> None:
    spans.clear()
    parent = f"00-{'1' * 32}-{'2' * 16}-01"
    await gateway.client.post("/restore?steps=3", content=png, headers={"traceparent": parent})
    requested = [span for span in spans.get_finished_spans() if span.context.trace_id == int("1" * 32, 16)]
    names = [span.name for span in requested]
    assert [names.count(name) for name in ("rddm.step", "rddm.batch", "rddm.decode", "rddm.sample", "rddm.encode")] == [
        3,
        3,
        1,
        1,
        1,
    ]
    by_id = {span.context.span_id: span for span in requested}
    batch = next(span for span in requested if span.name == "rddm.batch")
    path = [batch.name]
    while batch.parent.span_id in by_id:
        batch = by_id[batch.parent.span_id]
        path.append(batch.name)
    assert path == ["rddm.batch", "rddm.step", "rddm.sample", "POST /restore"]
    assert batch.parent.span_id == int("2" * 16, 16)


class Noting(FakeServingEngine):
    """Notes the trace headers that a server would get."""

    async def predict(self, *given: Any) -> Any:
        self.headers = trace_headers()
        return await super().predict(*given)


async def test_a_server_gets_the_span_of_the_batch_that_it_is_sent(spans: InMemorySpanExporter, settings: Any, png: bytes) -> None:
    engine = Noting()
    async with running(settings, engine) as gateway:
        parent = f"00-{'3' * 32}-{'4' * 16}-01"
        headers = {"traceparent": parent, "tracestate": "vendor=1", "baggage": "name=secret"}
        await gateway.client.post("/restore?steps=1", content=png, headers=headers)
    [batch] = [
        span for span in spans.get_finished_spans() if span.name == "rddm.batch" and span.context.trace_id == int("3" * 32, 16)
    ]
    assert engine.headers == {"traceparent": f"00-{'3' * 32}-{batch.context.span_id:016x}-01", "tracestate": "vendor=1"}


def test_a_batch_does_not_take_the_trace_of_the_task_that_runs_it(spans: InMemorySpanExporter) -> None:
    stranger = SpanContext(int("5" * 32, 16), int("6" * 16, 16), is_remote=True)
    ticket = Ticket(FakeServingEngine().models()["lowlight"].weights, "request", "caller")
    with (
        trace.use_span(trace.NonRecordingSpan(stranger)),
        batch_span(np.zeros((1, 3, 32, 32), np.float32), ticket, [trace.INVALID_SPAN_CONTEXT]),
    ):
        assert "5" * 32 not in trace_headers().get("traceparent", "")


async def test_a_shared_batch_is_linked_to_every_request_in_it(spans: InMemorySpanExporter, settings: Any, png: bytes) -> None:
    engine = FakeServingEngine(seconds=0.02)
    async with running(settings, engine) as gateway:
        await asyncio.gather(*(gateway.client.post(f"/restore?steps=6&seed={seed}", content=png) for seed in range(4)))
    batches = [span for span in spans.get_finished_spans() if span.name == "rddm.batch" and span.parent is not None]
    shared = [span for span in batches if span.attributes["rddm.rows"] > 1]
    for span in shared:
        assert len(span.links) == span.attributes["rddm.rows"] - 1
        assert span.context.trace_id not in {link.context.trace_id for link in span.links}
    assert sum(1 + len(span.links) for span in batches) == 24


async def test_logs_are_json_with_ids_and_hold_no_pixels_keys_or_names(tmp_path: Path, png: bytes) -> None:
    heard: list[str] = []
    handler = logging.Handler()
    handler.setFormatter(JsonLines())
    handler.emit = lambda record: heard.append(handler.format(record))  # type: ignore[method-assign]
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        async with running(with_keys(tmp_path)) as gateway:
            headers = {"X-API-Key": "a", "X-Request-Id": "abc-1"}
            answer = await gateway.client.post("/restore", files={"image": ("holiday-secret.png", png)}, headers=headers)
            assert answer.headers["x-request-id"] == "abc-1"
            await gateway.client.post("/restore", content=b"secret pixels", headers=headers)
            await gateway.client.get("/jobs/secret-id", headers={"X-API-Key": "wrong-secret"})
            gateway.engine.fault = RuntimeError("secret words of the engine")
            await gateway.client.post("/restore?seed=9", content=png, headers=headers)
    finally:
        root.removeHandler(handler)
        root.setLevel(logging.WARNING)
    lines = [body for line in heard if (body := json.loads(line))["logger"] != "httpx2"]  # the test's own client
    records = [line for line in lines if line["logger"] == "rddm.access"]
    assert [(line["route"], line["status"]) for line in records[-4:]] == [
        ("/restore", 200),
        ("/restore", 415),
        ("/jobs/{job}", 401),
        ("/restore", 500),
    ]
    assert {line["request_id"] for line in records[-4:-2]} == {"abc-1"}
    assert records[-1]["caller"] == "ann"
    assert any(line.get("error", [""])[0] == "RuntimeError" for line in lines)
    assert "secret" not in json.dumps(lines)


async def test_metrics_count_requests_batches_steps_and_the_cache(gateway: RunningApp, png: bytes) -> None:
    for _ in range(2):
        await gateway.client.post("/restore?steps=3", content=png)
    await gateway.client.post("/restore?steps=99", content=png)
    await gateway.client.get("/readyz")
    text = (await gateway.client.get("/metrics")).text
    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if not line.startswith("#")}
    assert values['rddm_requests_total{method="POST",route="/restore",status="200"}'] == 2
    assert values['rddm_requests_total{method="POST",route="/restore",status="422"}'] == 1
    assert values['rddm_part_seconds_count{model="lowlight",part="sample"}'] == 2
    assert values["rddm_cache_hits_total"] == 1
    assert values["rddm_cache_misses_total"] == 1
    assert values['rddm_engine_ready{model="lowlight"}'] == 1
    assert values["rddm_pending_megapixel_steps"] == 0
    assert values['rddm_step_seconds_count{model="lowlight"}'] >= 3


async def ready_gauges(gateway: RunningApp) -> dict[str, str]:
    return dict(re.findall(r'rddm_engine_ready{model="(.+?)"} (.+)', (await gateway.client.get("/metrics")).text))


async def test_the_readiness_gauge_knows_every_model_without_being_asked_for_it(gateway: RunningApp) -> None:
    assert await ready_gauges(gateway) == dict.fromkeys(("lowlight", "keeper", "unshadow", "emoji"), "1.0")
    del gateway.engine.loaded["keeper"]
    gateway.engine.broken = {"halved": "its file has another digest", "*": "a server is down"}
    gauges = await ready_gauges(gateway)
    assert (gauges.pop("keeper"), gauges.pop("halved")) == ("0.0", "0.0")
    assert gauges == dict.fromkeys(("lowlight", "unshadow", "emoji"), "1.0")


async def test_metrics_do_not_wait_for_an_engine_that_hangs(gateway: RunningApp, monkeypatch: Any) -> None:
    hung = asyncio.Event()
    monkeypatch.setattr("service.health.SCRAPE_SECONDS", 0.05)
    monkeypatch.setattr(gateway.engine, "check", lambda _: hung.wait())
    for _ in range(2):
        assert await asyncio.wait_for(ready_gauges(gateway), 5) == {}
    hung.set()
    assert len(await ready_gauges(gateway)) == 4


async def test_the_dashboard_asks_for_metrics_that_there_are(gateway: RunningApp, root: Path) -> None:
    text = (await gateway.client.get("/metrics")).text
    known = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    asked = set(re.findall(r"rddm_[a-z_]+", root.joinpath("docker", "grafana", "dashboards", "rddm.json").read_text()))
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} - known == set()
    assert len(asked) > 15
