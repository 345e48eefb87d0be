"""Before the API is imported the same is answered to who asks for readiness; anything else imports it."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.api.front import Front
from service.errors import EngineUnavailable
from service.gateway import open_gateway
from service.pictures.workers.pool import CodecPool
from service.settings import Settings
from tests.service.conftest import settings_for
from tests.service.live import live
from tests.service.serving import FakeServingEngine

PROBES = ["/healthz", "/v2/health/live", "/readyz", "/v2/health/ready", "/readyz?require=any", "/readyz?require=all"]
OWN = {"x-request-id": "a-request", "origin": "https://pages.example"}
STATES = ["ready", "failing", "closing"]


@asynccontextmanager
async def opened(settings: Settings, engine: FakeServingEngine, codecs: CodecPool | None = None) -> AsyncIterator[Any]:
    """A front whose parts are open, and a client."""
    front = Front(settings, lambda settings, metrics: open_gateway(settings, engine, metrics, codecs))
    transport = httpx2.ASGITransport(front, client=("127.0.0.1", 50000))
    async with (
        front._probes.router.lifespan_context(front._probes),
        httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client,
    ):
        yield front, client


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path, cors_origins=("https://pages.example",))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_probes_are_answered_alike_before_and_after_the_api_is_there(settings: Settings, method: str, state: str) -> None:
    engine = FakeServingEngine(fault=EngineUnavailable("it broke") if state == "failing" else None)
    async with opened(settings, engine) as (front, client):
        front.state.gateway.drain.closing = state == "closing"
        before = [await client.request(method, path, headers=OWN) for path in PROBES]
        assert front._api is None
        await front.api()
        after = [await client.request(method, path, headers=OWN) for path in PROBES]
    assert [answer.status_code for answer in before] == [200, 200, *[200 if state == "ready" else 503] * 4]
    for one, other in zip(before, after, strict=True):
        assert (one.status_code, one.content, one.headers) == (other.status_code, other.content, other.headers)
    assert all(answer.headers["access-control-allow-origin"] == OWN["origin"] for answer in before)
    assert all(answer.headers["x-request-id"] == OWN["x-request-id"] for answer in before)


async def test_probes_are_counted_by_their_route(settings: Settings) -> None:
    async with opened(settings, FakeServingEngine()) as (front, client):
        await client.get("/readyz")
        assert front._api is None
        counted = (await client.get("/metrics")).text
    assert 'rddm_requests_total{method="GET",route="/readyz",status="200"} 1.0' in counted


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/models", 200),
        ("GET", "/readyz?require=some", 422),
        ("POST", "/readyz", 405),
        ("OPTIONS", "/healthz", 405),
        ("GET", "/nothing", 404),
    ],
)
async def test_anything_else_is_answered_by_the_api(settings: Settings, method: str, path: str, status: int) -> None:
    async with opened(settings, FakeServingEngine()) as (front, client):
        assert (await client.request(method, path)).status_code == status
        assert front._api is not None


async def test_a_prefix_that_a_proxy_cut_off_is_kept(settings: Settings) -> None:
    async with opened(settings.model_copy(update={"root_path": "/pictures"}), FakeServingEngine()) as (front, client):
        before = await client.get("/readyz")
        assert front._api is None
        assert (await client.get("/pictures/readyz")).json() == before.json()


async def test_the_api_is_there_at_once_where_traces_are_exported(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "pictures")
    assert Front(settings)._api is not None


def test_the_api_is_imported_though_nobody_asks(tmp_path: Path) -> None:
    with live(settings_for(tmp_path)) as served:
        until = time.monotonic() + 60
        while served.app._api is None:
            assert time.monotonic() < until, "it was not imported"
            time.sleep(0.05)


def test_a_server_whose_api_cannot_be_imported_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Front) -> None:
        raise ModuleNotFoundError("No module named 'fastapi'")

    monkeypatch.setattr(Front, "_make", broken)
    with live(settings_for(tmp_path)) as served:
        assert served.client.get("/readyz").status_code == 200
        served._thread.join(60)
        assert not served._thread.is_alive()
