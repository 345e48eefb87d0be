"""The processes that read hostile files: what they receive and answer, and what they may not do."""

import asyncio
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from service import errors
from service.errors import EngineUnavailable
from service.pictures.encode import encode
from service.pictures.formats import FORMATS, sniff
from service.pictures.picture import Bounds, Picture
from service.pictures.workers.pool import PARTS_AHEAD, CodecPool, Worker
from tests.service.conftest import file_of, pixels_of


@asynccontextmanager
async def opened(memory_bytes: int = 1 << 31, bounds: Bounds | None = None) -> AsyncIterator[CodecPool]:
    codecs = CodecPool(bounds or Bounds(10**9, 16383), 1, 60.0, memory_bytes)
    await codecs.start()
    try:
        yield codecs
    finally:
        await codecs.close()


async def test_a_picture_that_needs_more_memory_than_it_may_have_is_refused_and_the_next_is_read() -> None:
    small = file_of(pixels_of(8, 8))
    async with opened(700 << 20) as codecs:
        with pytest.raises((errors.TooLarge, errors.Malformed)):
            await codecs.decode(file_of(np.zeros((16000, 16000), np.uint8), "PNG", compress_level=1))
        assert (await codecs.decode(small)).pixels.shape == (8, 8, 3)


async def test_an_order_that_is_given_up_ends_its_process_and_no_other() -> None:
    async with opened() as codecs:
        slow = np.random.default_rng(0).integers(0, 255, (2000, 2000, 3), np.uint8)
        task = asyncio.create_task(codecs.encode(Picture(slow), FORMATS["avif"]))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert codecs.killed == 1
        assert sniff(await codecs.encode(Picture(pixels_of(8, 8)), FORMATS["webp"])).name == "webp"


async def test_a_worker_has_limits_and_knows_nothing_of_the_gateways_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDDM_KEYS", "secret")
    async with opened() as codecs:
        worker = codecs._idle.take()
        process = Path(f"/proc/{worker.process.pid}")
        limits = process.joinpath("limits").read_text()
        environment = process.joinpath("environ").read_bytes()
        codecs._idle.put(worker)
    rows = {line[:25].strip(): line[25:].split()[:2] for line in limits.splitlines()}
    assert rows["Max address space"] == [str(1 << 31)] * 2
    assert rows["Max file size"] == rows["Max core file size"] == ["0", "0"]
    assert b"secret" not in environment


async def test_a_plain_png_needs_no_process_and_is_the_same_file() -> None:
    async with opened() as codecs:
        plain = await codecs.decode(file_of(pixels_of(9, 7)))
        worker = codecs._idle.take()  # nobody could answer
        alone = await codecs.encode(plain, FORMATS["png"])
        codecs._idle.put(worker)
        assert np.array_equal(imagecodecs.png_decode(alone), pixels_of(9, 7))
        described = await codecs.encode(replace(plain, dpi=(72.0, 72.0)), FORMATS["png"])
        assert np.array_equal(imagecodecs.png_decode(described), pixels_of(9, 7))
        assert alone == encode(plain, FORMATS["png"])


async def test_a_worker_that_died_while_it_had_nothing_to_do_is_no_pictures_fault() -> None:
    async with opened() as codecs:
        worker = codecs._idle.take()
        worker.process.kill()
        await worker.process.wait()
        codecs._idle.put(worker)
        assert (await codecs.decode(file_of(pixels_of(8, 8)))).pixels.shape == (8, 8, 3)
        assert codecs.killed == 1


async def test_no_process_to_read_pictures_is_the_services_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as codecs:
        worker = codecs._idle.take()
        await worker.end()
        codecs._idle.put(worker)

        async def refused(_memory_bytes: int) -> None:
            raise BlockingIOError("no more processes")

        with monkeypatch.context() as patched:
            patched.setattr(Worker, "start", refused)
            with pytest.raises(EngineUnavailable, match="no process can be started"):
                await codecs.decode(file_of(pixels_of(8, 8)))
        assert (await codecs.decode(file_of(pixels_of(8, 8)))).pixels.shape == (8, 8, 3)


@contextmanager
def only_thread_taken(codecs: CodecPool) -> Iterator[None]:
    free = threading.Event()
    codecs._threads.submit(free.wait)
    try:
        yield
    finally:
        free.set()


async def test_parts_are_done_in_order_by_the_threads_and_the_calling_one() -> None:
    async with opened() as codecs:
        threads: set[int] = set()

        def act(part: int) -> int:
            threads.add(threading.get_ident())
            time.sleep(0.01)
            return -part

        assert codecs._side_by_side(act, iter(range(9))) == [-part for part in range(9)]
        assert len(threads) == 2
        assert codecs._side_by_side(act, [5]) == [-5]
        assert codecs._side_by_side(act, []) == []


async def test_the_calling_thread_does_all_parts_where_no_other_starts() -> None:
    async with opened() as codecs:
        with only_thread_taken(codecs):
            mine = codecs._side_by_side(lambda _: threading.get_ident(), range(4))
        assert mine == [threading.get_ident()] * 4


async def test_few_parts_are_held_at_once() -> None:
    """100 parts, and a thread that never begins: all but those that may wait are done and forgotten as they come."""

    class Part:
        pass

    async with opened() as codecs:
        alive: weakref.WeakSet[Part] = weakref.WeakSet()
        most = 0

        def parts() -> Iterator[Part]:
            nonlocal most
            for _ in range(100):
                alive.add(part := Part())
                yield part
                del part
                most = max(most, len(alive))

        with only_thread_taken(codecs):
            assert codecs._side_by_side(lambda _: 1, parts()) == [1] * 100
    assert most <= PARTS_AHEAD * codecs.workers + 2


async def test_a_part_that_fails_fails_the_whole() -> None:
    async with opened() as codecs:
        for bad in (0, 3):
            with pytest.raises(ZeroDivisionError):
                codecs._side_by_side(lambda part, bad=bad: 1 / (part - bad), range(4))
        done = []
        with only_thread_taken(codecs), pytest.raises(ZeroDivisionError):
            codecs._side_by_side(lambda part: done.append(1 / (3 - part)), range(4))
        codecs._threads.submit(int).result()
        assert done == [1.0]  # the third, which found no place among those that wait; and those are not done for nothing


async def test_a_large_plain_png_is_the_same_file_by_threads_and_by_one() -> None:
    async with opened() as codecs:
        plain = await codecs.decode(file_of(pixels_of(700, 300)))
        assert await codecs.encode(plain, FORMATS["png"]) == encode(plain, FORMATS["png"])
