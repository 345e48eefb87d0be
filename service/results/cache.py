"""What need not be computed twice: identical work runs once; finished x_0 are kept, as pixels, within a bound in bytes.

With NumPy's Philox a result is a function of picture, mask, model file, method, steps and seed, whatever eta is; its pixels, of
their depth too. The caller, file formats and metadata are no part of it: they are applied per request, later.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from rddm.image import to_image
from service.engines.arrays import HOST
from service.errors import DeadlineExceeded, QueueFull
from service.sampling.state import thumbnail
from service.sampling.work import Image, Listener, Result, Sampler, Step, Work

V = TypeVar("V")


class LruCache(Generic[V]):
    """The latest used values, up to a bound in bytes; a value over the bound is not kept."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held: OrderedDict[str, tuple[V, int]] = OrderedDict()
        self.bytes = 0

    def get(self, key: str) -> V | None:
        """The value, which becomes the latest used, or None."""
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        return self._held[key][0]

    def put(self, key: str, value: V, size: int) -> None:
        """Keeps a value of so many bytes, and forgets the least recently used until all fit."""
        self.bytes += size - self._held.pop(key, (value, 0))[1]
        self._held[key] = value, size
        while self.bytes > self._limit:
            _, (_, freed) = self._held.popitem(last=False)
            self.bytes -= freed


def key_of(work: Work) -> str:
    """SHA-256 over all that decides the result: x_in and mask, or their pixels; model, method, steps, seed, depth, what is kept."""
    digest = hashlib.sha256()
    model, method = work.model.digest, work.method or work.model.spec.method
    facts = (model, method, work.steps, work.seed, work.depth, sorted(work.keep), work.size, work.flips)
    digest.update(repr(facts).encode())
    if work.context is not None:
        digest.update(np.ascontiguousarray(work.context).data)
    if work.pixels is not None:
        digest.update(work.pixels)
        return digest.hexdigest()
    for part in (work.x_in, work.mask):
        digest.update(b"-" if part is None else np.ascontiguousarray(part).data)
    return digest.hexdigest()


@dataclass(eq=False)
class InFlight:
    """Work that runs now: how many requests wait for it, and what listens to its steps; a late listener gets the latest at once."""

    task: "asyncio.Task[Result]"
    waiting: int = 0
    latest: Step | None = None
    listeners: list[Listener] = field(default_factory=list)


class ResultCache:
    """Finishes work with a sampler. `hits`, `shared` and `misses` count since the start."""

    def __init__(self, sampler: Sampler, limit_bytes: int) -> None:
        self.sampler = sampler
        self.entries: LruCache[Result] = LruCache(limit_bytes)
        self._in_flight: dict[tuple[str, bool], InFlight] = {}
        self.hits = self.shared = self.misses = 0

    def keeps(self, work: Work) -> bool:
        """Whether the result of work whose pixels' digest is known is there already."""
        return work.pixels is not None and self.entries.get(key_of(work)) is not None

    async def run(self, work: Work, on_step: Listener | None = None) -> Result:
        """The kept result, the one that is on its way, or a new one.

        A request that joined work which ends for its first caller's reasons (a deadline, a quota) starts it again.
        """
        quick = work.pixels is not None or work.size[0] * work.size[1] <= HOST.inline_pixels
        key = key_of(work) if quick else await asyncio.to_thread(key_of, work)
        while True:
            if (result := self.entries.get(key)) is not None:
                self.hits += 1
                if on_step is not None:
                    on_step(Step(work.steps, work.steps, await asyncio.to_thread(_preview, result)))
                return result
            running = self._in_flight.get((key, on_step is not None))
            is_first = running is None
            try:
                with self._joined(running := running or self._start(key, work, on_step is not None), on_step):
                    async with until(work.deadline, "was sampled"):
                        return await asyncio.shield(running.task)
            except (DeadlineExceeded, QueueFull):
                if is_first or _is_past(work.deadline):
                    raise

    def _start(self, key: str, work: Work, shows_steps: bool) -> InFlight:
        listeners: list[Listener] = []

        def tell(step: Step) -> None:
            running.latest = step
            for listener in listeners:
                listener(step)

        def keep(task: "asyncio.Task[Result]") -> None:
            if self._in_flight.get((key, shows_steps)) is running:
                del self._in_flight[key, shows_steps]
            if not task.cancelled() and task.exception() is None:
                self._keep(key, task.result())

        task = asyncio.create_task(self.sampler.run(work, tell if shows_steps else None))
        task.add_done_callback(keep)  # before anyone waits for it: callbacks run in the order in which they were added
        running = self._in_flight[key, shows_steps] = InFlight(task, listeners=listeners)
        return running

    def _keep(self, key: str, result: Result) -> None:
        """Keeps a result, read-only, as several requests hold it."""
        for array in result.arrays:
            array.flags.writeable = False
        self.entries.put(key, result, sum(array.nbytes for array in result.arrays))

    @contextmanager
    def _joined(self, running: InFlight, on_step: Listener | None) -> Iterator[None]:
        """Waits for running work in the block; the last to leave cancels it."""
        if running.waiting:
            self.shared += 1
        else:
            self.misses += 1
        running.waiting += 1
        if on_step is not None:
            running.listeners.append(on_step)
            if running.latest is not None:
                on_step(running.latest)
        try:
            yield
        finally:
            if on_step is not None:
                running.listeners.remove(on_step)
            running.waiting -= 1
            if not running.waiting and not running.task.done():
                self._cancel(running)

    def _cancel(self, running: InFlight) -> None:
        """Cancels running work; the next request with this key starts it anew at once."""
        self._in_flight = {key: other for key, other in self._in_flight.items() if other is not running}
        running.task.cancel()


def _preview(result: Result) -> Image:
    return thumbnail(to_image(result.pixels))


def _is_past(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


@asynccontextmanager
async def until(deadline: float | None, doing: str) -> AsyncIterator[None]:
    """Ends the block at a moment of time.monotonic's clock. Raises DeadlineExceeded: what the picture was doing then."""
    try:
        async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()):
            yield
    except TimeoutError as late:
        raise DeadlineExceeded(f"the deadline passed while the picture {doing}") from late
