"""Tiles are answered as other calls are, by sessions in which their time and their picture's code are constants."""

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rddm.graph import CONDITION, TIME, X_T, Feeds
from service.engines.embedded import folding
from service.engines.embedded.engine import EmbeddedEngine, Threads
from service.engines.embedded.folding import KEPT, FoldingRuntime, LatestSessions
from service.engines.embedded.sessions import OnnxRuntime
from service.engines.local import Network
from service.engines.repository import ModelFile, find_newest
from service.sampling.pipeline import Pipeline
from service.sampling.work import Work
from service.scheduling.scheduler import Scheduler
from service.settings import shipped_repository
from tests.calls import Asking, picture
from tests.models import release_tiny
from tests.service.engines.embedded.test_graph_file import graph

HEIGHT, WIDTH = 64, 96


def shipped(name: str) -> ModelFile:
    return find_newest(shipped_repository(), name)


def tiled(file: ModelFile, threads: int = 1, runtime: FoldingRuntime | None = None) -> Network:
    network = (runtime or FoldingRuntime()).open_tiled(file.read(), file.model, threads)
    assert network is not None
    return network


def feeds_of(file: ModelFile, rows: int = 1, seed: int = 0) -> Feeds:
    draw, channels = np.random.default_rng(seed), file.model.spec.condition_channels
    condition = draw.uniform(-1, 1, (rows, channels, HEIGHT, WIDTH)).astype(np.float32)
    x_t = draw.standard_normal((rows, 3, HEIGHT, WIDTH), np.float32)
    return {X_T: x_t, CONDITION: condition, TIME: draw.uniform(0, 1000, (rows, 2)).astype(np.float32)}


def answer(network: Network, feeds: Feeds) -> np.ndarray:
    [output] = network.run(feeds, Future())
    return np.asarray(output)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every session that is opened for tiles."""
    sizes, make = list[int](), folding.make_session

    def counted(data: bytes, threads: int) -> Any:
        sizes.append(len(data))
        return make(data, threads)

    monkeypatch.setattr(folding, "make_session", counted)
    return sizes


@pytest.mark.parametrize("name", ["lowlight", "derain", "clean", "inpaint", "upscale"])
def test_a_tile_is_answered_as_any_call_at_every_time_and_code(name: str) -> None:
    file = shipped(name)
    network, plain = tiled(file), OnnxRuntime().open(file.read(), file.model, 1)
    for seed in (0, 1):
        feeds = feeds_of(file, seed=seed)
        np.testing.assert_allclose(answer(network, feeds), answer(plain, feeds), atol=1e-5)


def test_tiles_of_one_step_share_a_session_and_another_time_or_code_has_its_own(opened: list[int]) -> None:
    file = shipped("lowlight")
    network, one, other = tiled(file), *(feeds_of(file, seed=seed) for seed in (0, 1))
    answer(network, one)
    neighbour = np.concatenate([other[CONDITION][:, :6], one[CONDITION][:, 6:]], 1)
    answer(network, {**other, TIME: one[TIME], CONDITION: neighbour})
    assert len(opened) == 1
    answer(network, {**one, TIME: other[TIME]})
    assert len(opened) == 2
    answer(network, {**one, CONDITION: other[CONDITION]})
    assert len(opened) == 3


def test_models_of_one_engine_keep_few_sessions_together(opened: list[int]) -> None:
    runtime = FoldingRuntime()
    files = [shipped(name) for name in ("derain", "raindrop", "lowlight")]
    networks = [tiled(file, runtime=runtime) for file in files]
    for _ in range(2):
        for file, network in zip(files, networks, strict=True):
            answer(network, feeds_of(file))
    assert len(opened) == 2 * len(files) > KEPT  # in turns, each was let go before it came again


def test_the_sessions_that_were_asked_for_last_are_kept_and_each_is_made_once() -> None:
    sessions, made = LatestSessions(), list[str]()
    started = threading.Barrier(4)

    def get(key: str) -> Any:
        return sessions.get(key, lambda: made.append(key) or f"session {key}")  # type: ignore[func-returns-value]

    def at_once(_: int) -> Any:
        started.wait(10)
        return get("a")

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(at_once, range(4))) == {"session a"}
    for key in ("b", "a", "c", "a", "b"):
        assert get(key) == f"session {key}"
    assert made == ["a", "b", "c", "b"]


def test_a_session_that_cannot_be_made_is_tried_again() -> None:
    sessions = LatestSessions()

    def full() -> Any:
        raise MemoryError

    with pytest.raises(MemoryError):
        sessions.get("a", full)
    assert sessions.get("a", lambda: "session") == "session"


@pytest.mark.parametrize("name", ["lowlight", "derain"])
def test_rows_have_the_same_bytes_together_alone_and_by_any_number_of_threads(name: str) -> None:
    file = shipped(name)
    feeds = feeds_of(file, rows=3)
    together, threaded = (answer(tiled(file, threads), feeds) for threads in (1, 2))
    np.testing.assert_array_equal(together, threaded)
    for row in range(3):
        alone = answer(tiled(file), {name: part[row : row + 1] for name, part in feeds.items()})
        np.testing.assert_array_equal(together[row : row + 1], alone)


@pytest.mark.parametrize("name", ["dehaze", "shadow"])
def test_tiles_of_a_network_that_computes_scales_of_what_it_sees_have_no_sessions(name: str) -> None:
    file = shipped(name)
    assert FoldingRuntime().open_tiled(file.read(), file.model, 1) is None


def test_neither_has_a_network_without_scales_nor_one_whose_code_is_not_found() -> None:
    assert FoldingRuntime().open_tiled(graph("Add"), shipped("derain").model, 1) is None
    assert FoldingRuntime().open_tiled(graph("Mul"), shipped("derain").model, 1) is not None
    assert FoldingRuntime().open_tiled(graph("Mul"), shipped("lowlight").model, 1) is None


async def test_an_engine_calls_tiles_by_their_own_sessions_alone_and_beside_others(tmp_path: Path, opened: list[int]) -> None:
    release_tiny(tmp_path)
    engine = EmbeddedEngine(tmp_path, Threads(2))
    await engine.start()
    ask = Asking(engine)
    plain, alone = await ask.tiny(), await ask.tiny(tiled=True)
    assert len(opened) == 1
    np.testing.assert_allclose(alone, plain, atol=1e-5)
    beside = await asyncio.gather(*(ask.tiny(seed=seed, tiled=seed % 2 == 0) for seed in range(8)))
    np.testing.assert_array_equal(beside[0], alone)
    assert len(opened) == 1
    await engine.close()


async def test_a_picture_of_tiles_has_the_same_bytes_alone_and_beside_others(tmp_path: Path, opened: list[int]) -> None:
    release_tiny(tmp_path)
    engine = EmbeddedEngine(tmp_path, Threads(2))
    await engine.start()
    model = engine.models()["tiny"]
    pipeline = Pipeline(Scheduler(engine, 2))

    async def restored(name: str, steps: int, side: int) -> np.ndarray:
        return (await pipeline.run(Work(model, steps, 0, name, name, picture(side=side)))).pixels

    alone = await restored("alone", 2, 100)
    assert len(opened) == 2  # one for each step
    beside = await asyncio.gather(*(restored(str(steps), steps, 100) for steps in (2, 3, 4)), restored("whole", 2, 64))
    np.testing.assert_array_equal(beside[0], alone)
    pipeline.close()
    await engine.close()
