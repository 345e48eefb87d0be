"""An engine in this process: large calls have threads of their own, so that small ones never wait for them."""

import asyncio
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rddm.graph import X_T
from service.engines.contract import LARGE_PIXELS, Feeds, Model, Outputs, Ticket
from service.engines.embedded.sessions import OnnxRuntime
from service.engines.local import LocalEngine, Network, Threads
from tests.models import release_tiny, tiny_spec

SIDE = 704


class Blocking(OnnxRuntime):
    """Large calls wait until they may go on; what runs a call is noted."""

    scales = False

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.threads: list[str] = []

    def open(self, data: bytes, model: Model, threads: int, *, exclusive: bool = False) -> Network:
        return BlockingNetwork(self, super().open(data, model, threads, exclusive=exclusive))


@dataclass
class BlockingNetwork:
    runtime: Blocking
    inner: Network

    def run(self, feeds: Feeds, ended: Future[None]) -> Outputs:
        self.runtime.threads.append(threading.current_thread().name)
        if feeds[X_T].shape[2] == SIDE:
            assert self.runtime.go_on.wait(30)
        return self.inner.run(feeds, ended)


async def test_a_small_call_runs_while_large_ones_have_every_place_of_theirs(tmp_path: Path) -> None:
    release_tiny(tmp_path, tiny_spec(most_pixels=None))
    runtime = Blocking()
    engine = LocalEngine(tmp_path, runtime, Threads(1))
    await engine.start()
    model = engine.models()["tiny"]
    runtime.threads.clear()  # of the golden call

    def call(side: int, request: str) -> "asyncio.Task[Outputs]":
        x_t = np.zeros((1, 3, side, side), np.float32)
        return asyncio.create_task(engine.predict(x_t, x_t, np.zeros((1, 2), np.float32), Ticket(model.weights, request, "a")))

    assert SIDE**2 > LARGE_PIXELS
    large = [call(SIDE, f"large{k}") for k in range(2)]
    await asyncio.sleep(0.05)
    await asyncio.wait_for(call(64, "small"), 30)
    assert not any(task.done() for task in large)
    runtime.go_on.set()
    await asyncio.gather(*large)
    await engine.close()
    assert [name.rsplit("_")[0] for name in runtime.threads] == ["network-large", "network", "network-large"]
