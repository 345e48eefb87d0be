"""max_latency_ms from the request to the network and back: a gateway with a real model, which it measured itself."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from service.api.app import create_app
from service.gateway import Gateway
from tests.models import release_tiny, tiny_spec
from tests.service.conftest import file_of, pixels_of, settings_for

SIDE, MOST = 1024, 5  # pixels, of which a call takes so long that what lies around it counts for little; steps
ASKED = f"/restore?steps={MOST}"
# Of what all steps took a moment ago, so that fewer fit: one after the other, as a machine that is busy just then may let a
# deadline pass.
SHARES = (0.7, 0.6, 0.5, 0.4, 0.3, 0.8) * 4


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Gateway, httpx2.AsyncClient]]:
    folder = tmp_path / "repository"
    release_tiny(folder, tiny_spec(reach=32, most_pixels=SIDE * SIDE))
    changes = {"max_pixels": SIDE * SIDE, "max_megapixel_steps": 100, "results_bytes": 0}
    settings = settings_for(tmp_path, model_repository=folder, default_model="tiny", **changes)
    app = create_app(settings)
    transport = httpx2.ASGITransport(app, client=("127.0.0.1", 50000))
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=120) as client,
    ):
        yield app.state.gateway, client


async def timed(client: httpx2.AsyncClient, address: str, body: bytes) -> tuple[httpx2.Response, float]:
    """The answer, and its seconds."""
    start = time.perf_counter()
    return await client.post(address, content=body), time.perf_counter() - start


async def test_steps_are_chosen_to_meet_a_deadline_and_the_rest_is_refused_at_once(
    served: tuple[Gateway, httpx2.AsyncClient],
) -> None:
    gateway, client = served
    body = file_of(pixels_of(SIDE, SIDE))
    unbounded, seconds = await timed(client, ASKED, body)
    assert unbounded.headers["X-Steps"] == str(MOST)

    roomy = await client.post(f"{ASKED}&max_latency_ms=600000", content=body)
    assert (roomy.headers["X-Steps"], roomy.content) == (str(MOST), unbounded.content)

    for share in SHARES:
        _, seconds = await timed(client, ASKED, body)
        milliseconds = round(1000 * share * seconds)
        bounded, taken = await timed(client, f"{ASKED}&max_latency_ms={milliseconds}", body)
        assert bounded.status_code in {200, 504}
        steps = int(bounded.headers.get("X-Steps", MOST))
        if steps < MOST:
            break
    assert 1 <= steps < MOST
    assert taken < milliseconds / 1000 + 1  # what encoding and this test's own client take comes after the deadline's last check
    alone = await client.post(f"/restore?steps={steps}", content=body)
    assert alone.content == bounded.content

    refused, taken = await timed(client, f"{ASKED}&max_latency_ms=1", body)
    assert refused.status_code == 504
    assert any(one in refused.json()["detail"] for one in ("the fewest steps of model tiny, 1,", "waited to be read"))
    assert taken < seconds
    assert (gateway.scheduler.pending, gateway.scheduler.waiting, gateway.scheduler.running, gateway.drain.working) == (0, 0, 0, 0)
