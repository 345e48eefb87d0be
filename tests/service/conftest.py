"""A gateway with a fake engine, spoken to through ASGI, and pictures to send."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from service.api.app import create_app
from service.gateway import Gateway, open_gateway
from service.pictures.picture import Bounds
from service.pictures.workers.pool import CodecPool
from service.pictures.workers.worker import TASKS
from service.settings import Settings
from service.storage import Database, open_database
from service.storage.sqlite import SqliteDatabase
from tests.postgres import Postgres, running_postgres
from tests.service.serving import FakeServingEngine


def settings_for(tmp_path: Path, **changes: Any) -> Settings:
    """Small limits, and jobs in the test's own folder."""
    facts = {
        "jobs_file": tmp_path / "jobs.sqlite",
        "codec_workers": 1,
        "max_pixels": 512 * 512,
        "max_side": 8191,
        "max_megapixel_steps": 4.0,
    }
    return Settings(**(facts | changes))


class RunningApp:
    """A running app, its gateway, its engine, and a client."""

    def __init__(self, app: Any, engine: FakeServingEngine, client: httpx2.AsyncClient) -> None:
        self.app, self.engine, self.client = app, engine, client

    @property
    def state(self) -> Gateway:
        return self.app.state.gateway


class InProcessCodecs(CodecPool):
    """The codec pool without its processes: quick to open, and as good for pictures that mean no harm."""

    async def start(self) -> None:
        pass

    async def _run(self, facts: dict[str, Any], *_: Any) -> dict[str, Any]:
        return await asyncio.to_thread(TASKS[facts.pop("task")], facts)


@asynccontextmanager
async def running(
    settings: Settings, engine: FakeServingEngine | None = None, codecs: CodecPool | None = None
) -> AsyncIterator[RunningApp]:
    """The app between startup and shutdown."""
    engine = engine or FakeServingEngine()
    codecs = codecs or InProcessCodecs(Bounds(settings.max_pixels, settings.max_side), 1, 60.0, 1 << 31)
    app = create_app(settings, lambda settings, metrics: open_gateway(settings, engine, metrics, codecs))
    transport = httpx2.ASGITransport(app, client=("127.0.0.1", 50000))
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as client,
    ):
        yield RunningApp(app, engine, client)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path)


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[RunningApp]:
    async with running(settings) as gateway:
        yield gateway


def pixels_of(height: int, width: int, channels: int = 3, top: int = 255, seed: int = 0) -> np.ndarray:
    """A smooth picture with some noise, dark enough that nothing clips when it becomes half a range brighter."""
    draw = np.random.default_rng(seed)
    ramp = np.linspace(0.05, 0.5, height * width).reshape(height, width, 1)
    noise = draw.uniform(0, 0.2, (height, width, channels))
    return (
        np.rint((ramp + noise) * top).astype(np.uint8 if top == 255 else np.uint16).squeeze(-1)
        if channels == 1
        else np.rint((ramp + noise) * top).astype(np.uint8 if top == 255 else np.uint16)
    )


def file_of(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def png() -> bytes:
    return file_of(pixels_of(24, 40))


@pytest.fixture
def picture_file() -> Callable[..., bytes]:
    return file_of


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """An empty database."""
    import psycopg  # noqa: PLC0415 (an extra)

    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("drop table if exists rddm_jobs, rddm_deliveries, rddm_quotas, rddm_results")
    return postgres.url


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """Both of them, empty."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    database = SqliteDatabase(None) if url is None else open_database(url, Path(), named=False)
    yield database
    await database.aclose()
