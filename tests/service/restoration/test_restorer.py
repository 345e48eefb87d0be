"""The synchronous door: the service's own bytes, from several threads, bounded, with nothing left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from service.errors import InvalidValue, Malformed, NotFound
from service.restoration import GenerateParameters, RestoreParameters, Restorer, open_restorer
from service.settings import Settings
from tests.service.conftest import pixels_of, running, settings_for
from tests.service.serving import FakeServingEngine
from tests.service.test_pictures import opened


@contextmanager
def restorer(engine: FakeServingEngine | None = None, at_once: int | None = None) -> Iterator[Restorer]:
    with open_restorer(Settings(codec_workers=1), at_once, engine or FakeServingEngine()) as one:
        yield one


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


async def over_http(tmp_path: Path, png: bytes) -> bytes:
    async with running(settings_for(tmp_path)) as gateway:
        return (await gateway.client.post("/restore?seed=5", content=png)).content


def test_the_bytes_are_those_of_the_gateway_and_no_thread_stays(tmp_path: Path, png: bytes) -> None:
    before = threads()
    with restorer() as one:
        restored = one.restore(png, RestoreParameters(seed=5))
        assert opened(one.restore(png, RestoreParameters(format="webp"))).format == "WEBP"
        assert set(one.models()) == {"lowlight", "keeper", "unshadow", "emoji"}
    assert restored == asyncio.run(over_http(tmp_path, png))
    assert {name for name in threads() - before if "Portal" in name or "event-loop" in name} == set()


def test_pixels_go_without_files_and_keep_their_depth(png: bytes) -> None:
    with restorer() as one:
        for top in (255, 65535):
            pixels = pixels_of(24, 40, top=top)
            restored = one.restore_pixels(pixels, RestoreParameters(task="lowlight"))
            assert (restored.dtype, restored.shape) == (pixels.dtype, pixels.shape)
            assert abs(float(restored.astype(float).mean() - pixels.mean()) / top - 0.25) < 0.01
        assert np.array_equal(one.restore_pixels(pixels_of(24, 40)), np.asarray(opened(one.restore(png))))
        assert one.restore_pixels(pixels_of(24, 40), RestoreParameters(task="unshadow"), pixels_of(24, 40)).shape == (24, 40, 3)


def test_several_threads_share_it_and_no_more_than_at_once_are_in_work(png: bytes) -> None:
    engine = FakeServingEngine(seconds=0.02)
    with restorer(engine, at_once=2) as one, ThreadPoolExecutor(8) as pool:
        most, service = 0, one._service

        def watched(seed: int) -> bytes:
            nonlocal most
            body = one.restore(png, RestoreParameters(seed=seed))
            most = max(most, len(service.scheduler._requests))
            return body

        bodies = list(pool.map(watched, range(12)))
        assert len(bodies) == 12
        assert most <= 2
        assert all(opened(body).size == (40, 24) for body in bodies)
        assert service.scheduler.idle


def test_details_and_generated_pictures_come_with_how_they_were_made(png: bytes) -> None:
    with restorer() as one:
        result = one.restore_request(png, RestoreParameters(steps=3, seed=9))
        assert (result.steps, result.seed, result.model.spec.name) == (3, 9, "lowlight")
        assert set(result.timings) == {"decode", "sample", "encode"}
        assert one.generate(GenerateParameters(n=2, seed=4)).seeds == (4, 5)


def test_errors_are_the_services_and_the_next_picture_is_served(png: bytes) -> None:
    with restorer() as one:
        with pytest.raises(NotFound, match="unknown task 'rain'"):
            one.restore(png, RestoreParameters(task="rain"))
        with pytest.raises(InvalidValue, match="takes no mask"):
            one.restore(png, mask=png)
        with pytest.raises(InvalidValue, match="takes no mask"):
            one.restore_pixels(pixels_of(8, 8), mask=pixels_of(8, 8))
        with pytest.raises(Malformed):
            one.restore(png[:60])
        assert opened(one.restore(png)).size == (40, 24)
    with pytest.raises(ValueError, match="at_once = 0"), open_restorer(at_once=0):
        pass


def test_an_interrupted_thread_cancels_its_request(png: bytes) -> None:
    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with restorer(FakeServingEngine(seconds=30.0)) as one:
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            with pytest.raises(KeyboardInterrupt):
                one.restore(png)
            end = time.monotonic() + 10
            while not one._service.scheduler.idle and time.monotonic() < end:
                time.sleep(0.01)
            assert one._service.scheduler.idle
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_it_imports_no_web_framework_and_no_torch() -> None:
    program = "import sys, service.restoration; print(sorted({'fastapi', 'starlette', 'uvicorn', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"
