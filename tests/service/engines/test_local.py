"""An engine in this process, without a runtime: threads, deadlines, cancellation, and the network of all threads."""

import asyncio
import dataclasses
import hashlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rddm.graph import X_T
from rddm.model import golden_input
from service.engines.contract import Feeds, Ticket
from service.engines.local import LocalEngine, Networks, Threads, is_prime
from service.engines.repository import ModelFile
from service.errors import BadAnswer, DeadlineExceeded, EngineUnavailable, InvalidValue
from tests.service.serving import RESTORER, model

MODEL = model(RESTORER)
FEEDS = golden_input(RESTORER)


class Network:
    """Answers with x_t, or what it is given, after it is let go."""

    def __init__(self, outputs: tuple[Any, ...] | None = None, *, waits: bool = False) -> None:
        self.outputs, self.go, self.stopped, self.began = outputs, threading.Event(), threading.Event(), threading.Event()
        if not waits:
            self.go.set()

    def run(self, feeds: Feeds, ended: Future[None]) -> tuple[Any, ...]:
        ended.add_done_callback(lambda _: (self.stopped.set(), self.go.set()))
        self.began.set()
        self.go.wait(10)
        return (feeds[X_T],) if self.outputs is None else self.outputs


class Runtime:
    """A runtime whose errors are KeyErrors."""

    scales = True

    def open(self, *_: Any, **__: Any) -> Network:
        return Network()

    def open_tiled(self, data: bytes, *_: Any) -> Network:
        return Network((data,))

    @contextmanager
    def translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except KeyError as error:
            raise EngineUnavailable(f"{name}: {error}") from error


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[LocalEngine]:
    one = LocalEngine(tmp_path, Runtime(), Threads(1))
    yield one
    await one.close()


def ticket(**facts: Any) -> Ticket:
    return Ticket(MODEL.weights, "request", "caller", **facts)


async def test_a_call_answers_and_says_when_it_begins(engine: LocalEngine) -> None:
    starts: list[int] = []
    [output] = await engine.run(MODEL, Networks(Network()), FEEDS, ticket(on_start=lambda: starts.append(1)))
    assert np.array_equal(output, FEEDS[X_T])
    assert starts == [1]


async def test_a_deadline_stops_the_call(engine: LocalEngine) -> None:
    network = Network(waits=True)
    with pytest.raises(DeadlineExceeded, match="the deadline passed while the network ran"):
        await engine.run(MODEL, Networks(network), FEEDS, ticket(deadline=time.monotonic() + 0.3))
    assert network.stopped.is_set()
    with pytest.raises(DeadlineExceeded, match="before the network was called"):
        await engine.run(MODEL, Networks(network), FEEDS, ticket(deadline=time.monotonic() - 1))


async def test_a_cancelled_call_is_stopped_and_one_that_waits_never_starts(engine: LocalEngine) -> None:
    running, waiting = Network(waits=True), Network()
    first = asyncio.create_task(engine.run(MODEL, Networks(running), FEEDS, ticket()))
    await asyncio.to_thread(running.began.wait, 10)
    second = asyncio.create_task(engine.run(MODEL, Networks(waiting), FEEDS, ticket()))
    await asyncio.sleep(0)
    for task in (second, first):
        task.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert running.stopped.is_set()
    assert not waiting.began.is_set()


@pytest.mark.parametrize(
    ("outputs", "fault"), [((), BadAnswer), ((np.full_like(FEEDS[X_T], np.nan),), BadAnswer), ((FEEDS[X_T][:, :1],), BadAnswer)]
)
async def test_what_a_network_answers_is_checked(engine: LocalEngine, outputs: tuple[Any, ...], fault: type[Exception]) -> None:
    with pytest.raises(fault):
        await engine.run(MODEL, Networks(Network(outputs)), FEEDS, ticket())


async def test_what_is_asked_is_checked_and_the_runtimes_errors_are_translated(engine: LocalEngine) -> None:
    class Broken(Network):
        def run(self, *_: Any) -> tuple[Any, ...]:
            raise KeyError("inside")

    with pytest.raises(EngineUnavailable, match="lowlight: 'inside'"):
        await engine.run(MODEL, Networks(Broken()), FEEDS, ticket())
    with pytest.raises(InvalidValue):
        await engine.run(MODEL, Networks(Network()), {X_T: FEEDS[X_T]}, ticket())


def test_the_network_of_all_threads_is_opened_once_and_for_exclusive_calls_only() -> None:
    beside, exclusive, opened = Network(), Network(), list[int]()

    def open_other(first: Network) -> tuple[Network, Network]:
        opened.append(1)
        return first, exclusive

    networks = Networks(beside, open_other)  # type: ignore[arg-type]
    assert networks.suited(ticket()) is beside
    assert opened == []
    assert networks.suited(ticket(exclusive=True)) is networks.suited(ticket(exclusive=True)) is exclusive
    assert opened == [1]
    assert Networks(beside).suited(ticket(exclusive=True)) is beside


def test_tiles_take_their_own_network_which_is_opened_once_and_others_where_there_is_none() -> None:
    beside, tiles, opened = Network(), Network(), list[int]()
    networks = Networks(beside, open_tiled=lambda: opened.append(1) or tiles)  # type: ignore[func-returns-value]
    assert networks.suited(ticket()) is beside
    assert opened == []
    assert networks.suited(ticket(tiled=True)) is networks.suited(ticket(tiled=True)) is tiles
    assert opened == [1]
    assert Networks(beside).suited(ticket(tiled=True)) is beside


def test_one_request_takes_all_threads_and_opens_the_other_network_for_tiles_only() -> None:
    beside, exclusive, opened = Network(), Network(), list[int]()

    def open_other(first: Network) -> tuple[Network, Network]:
        opened.append(1)
        return first, beside

    networks = Networks(exclusive, open_other, first_is_exclusive=True)  # type: ignore[arg-type]
    assert networks.suited(ticket(exclusive=True)) is exclusive
    assert opened == []
    assert networks.suited(ticket()) is networks.suited(ticket()) is beside
    assert opened == [1]
    unlike = Networks(exclusive, lambda _: (beside, beside), first_is_exclusive=True)  # type: ignore[arg-type, return-value]
    assert unlike.suited(ticket()) is unlike.suited(ticket(exclusive=True)) is beside


def test_threads_are_counted_and_none_is_refused() -> None:
    assert Threads(3, 2).all == 6
    with pytest.raises(ValueError, match="instances = 0 must be at least 1"):
        Threads(0)


def test_primes() -> None:
    assert [number for number in range(2, 30) if is_prime(number)] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]


async def test_tiles_are_called_like_others_where_the_file_is_no_longer_the_one_that_was_opened(
    engine: LocalEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"graph")
    file = ModelFile(dataclasses.replace(MODEL, digest=hashlib.sha256(b"graph").hexdigest()), path)
    networks = engine.open(file)
    assert networks.suited(ticket(tiled=True)).outputs == (b"graph",)  # type: ignore[attr-defined]
    path.write_bytes(b"another")
    networks = engine.open(ModelFile(dataclasses.replace(MODEL, digest=hashlib.sha256(b"another").hexdigest()), path))
    path.unlink()
    assert networks.suited(ticket(tiled=True)) is networks.first
    assert "tiles of model lowlight are called like whole pictures: the file of model 'lowlight' cannot be read" in caplog.text
