"""An engine inside the gateway's own process: calls run in a pool of threads, by whatever runtime opens the model files.

A call that is cancelled, or whose deadline passes, never starts or is told to stop.

Calls side by side have a thread each: nothing yields more pictures a second. Large calls have threads of their own, which give way
to those of small ones: the operating system shares the cores, and no small picture waits for a large call. A picture that has the
engine to itself and is one call would leave all cores but one idle, so for it a model is opened a second time, with all threads,
when the first such picture comes. Where both do not answer with the same bytes the second one is not used.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rddm.graph import X_T
from rddm.model import golden_input
from rddm.tiling import most_pixels
from service.cores import give_way, usable_cores
from service.engines.checks import check_feeds, check_finite, check_outputs
from service.engines.contract import (
    LARGE_PIXELS,
    WIDE_PIXELS,
    Array,
    Engine,
    Feeds,
    Model,
    Outputs,
    Ticket,
    to_feeds,
)
from service.engines.repository import LocalRepository, ModelFile
from service.errors import DeadlineExceeded, ServiceError
from service.timings import part

log = logging.getLogger(__name__)


class Cancellation:
    """Stops a call that runs in another thread."""

    def __init__(self) -> None:
        self.cancelled = False
        self._stop: Callable[[], Any] = lambda: None

    def on_cancel(self, stop: Callable[[], Any]) -> None:
        """What stops the call that is about to run; at once if it is too late for that."""
        self._stop = stop
        if self.cancelled:
            stop()

    def cancel(self) -> None:
        """Of no consequence to a call that has ended."""
        self.cancelled = True
        self._stop()


class Network(Protocol):
    """A model file that a runtime has opened."""

    def run(self, feeds: Feeds, cancellation: Cancellation, /) -> Outputs:
        """The outputs in order, in the kind of arrays that came in. Raises the runtime's own errors."""
        ...


class Runtime(Protocol):
    """Opens model files; all that an engine in this process adds to `LocalEngine`.

    scales: whether a network of more threads answers sooner.
    """

    scales: bool

    def open(self, data: bytes, model: Model, threads: int, *, exclusive: bool = False) -> Network:
        """A network whose calls use so many threads. exclusive: they have the cores to themselves. Raises the runtime's errors."""
        ...

    def translated(self, name: str) -> AbstractContextManager[None]:
        """Within it the runtime's errors become those of `service.errors`, in words about the model of this name."""
        ...


@dataclass(frozen=True)
class Threads:
    """instances: calls that run side by side. each: threads that one of them uses; measured on two cores, see benchmarks."""

    instances: int
    each: int = 1

    def __post_init__(self) -> None:
        for name in ("instances", "each"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 1")

    @property
    def all(self) -> int:
        """Threads that run when every instance does."""
        return self.instances * self.each


class Networks:
    """One model, opened for calls side by side, and, once that is of use, for a call that has all threads to itself.

    open_exclusive: makes what such a call is given, at the first one: most starts never see one, and to open a model for all
    threads costs more than to open it for one. None where it is of no use.
    """

    def __init__(self, beside: Network, open_exclusive: Callable[[], Network] | None = None) -> None:
        self.beside = beside
        self._exclusive: Network | None = None
        self._open_exclusive = open_exclusive
        self._opening = threading.Lock()

    def suited(self, ticket: Ticket) -> Network:
        """The one to call; it may take as long as a few calls."""
        return self._for_exclusive() if ticket.exclusive and self._open_exclusive is not None else self.beside

    def _for_exclusive(self) -> Network:
        with self._opening:
            if self._exclusive is None:
                assert self._open_exclusive is not None
                self._exclusive = self._open_exclusive()
            return self._exclusive


class LocalEngine(LocalRepository[Networks]):
    """An engine and a repository (service.engines.contract) on a folder in Triton's layout."""

    def __init__(self, folder: Path, runtime: Runtime, threads: Threads | None = None) -> None:
        super().__init__(folder)
        self.threads = threads or Threads(usable_cores())
        self._runtime = runtime
        self._small = ThreadPoolExecutor(self.threads.instances, "network")
        self._large = ThreadPoolExecutor(self.threads.instances, "network-large", initializer=give_way)

    @property
    def instances(self) -> int:
        """Calls that really run side by side, of large ones and of small ones."""
        return self.threads.instances

    async def close(self) -> None:
        """Drop queued calls, let running ones end, and free the models."""
        for pool in (self._small, self._large):
            await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)
        await super().close()

    async def predict(self, x_t: Array, condition: Array | None, time: Array, ticket: Ticket) -> Outputs:
        """See `service.engines.contract.Engine`."""
        model, networks = self._versions.find(ticket.weights)
        return await self.run(model, networks, to_feeds(x_t, condition, time), ticket)

    async def run(self, model: Model, networks: Networks, feeds: Feeds, ticket: Ticket) -> Outputs:
        """A call of an opened version, which need not take traffic."""
        cancellation = Cancellation()
        seconds = None if ticket.deadline is None else ticket.deadline - time.monotonic()
        if seconds is not None and seconds <= 0:
            raise DeadlineExceeded("the deadline passed before the network was called")
        pool = self._large if math.prod(feeds[X_T].shape[2:]) > LARGE_PIXELS else self._small
        call = pool.submit(self._start, networks, feeds, cancellation, model, ticket)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(call)
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed while the network ran") from error
        finally:
            cancellation.cancel()

    def open(self, file: ModelFile) -> Networks:
        """See LocalRepository."""
        model = file.model
        with part(f"{model.spec.name}: read"):
            data = file.read()
        with part(f"{model.spec.name}: session"), self._runtime.translated(model.spec.name):
            beside = self._runtime.open(data, model, self.threads.each)
        large = model.spec.image_size is None and most_pixels(model.spec) >= WIDE_PIXELS
        widens = large and self._runtime.scales and self.threads.all > self.threads.each
        return Networks(beside, partial(self._open_exclusive, file, beside) if widens else None)

    def engine_of(self, model: Model, handle: Networks) -> Engine:
        """See LocalRepository."""
        return _Candidate(self, model, handle)

    def _start(self, networks: Networks, feeds: Feeds, cancellation: Cancellation, model: Model, ticket: Ticket) -> Outputs:
        network = networks.suited(ticket)
        if ticket.on_start is not None:
            ticket.on_start()
        return self._call(network, feeds, cancellation, model)

    def _call(self, network: Network, feeds: Feeds, cancellation: Cancellation, model: Model) -> Outputs:
        """Raises InvalidValue for what the graph does not take, BadAnswer, and the runtime's errors as the service's own."""
        check_feeds(feeds, model)
        with self._runtime.translated(model.spec.name):
            outputs = network.run(feeds, cancellation)
        check_outputs(outputs, feeds[X_T], model)
        if all(isinstance(output, np.ndarray) for output in outputs):
            check_finite(outputs, model)
        return outputs

    def _open_exclusive(self, file: ModelFile, beside: Network) -> Network:
        """A network of all threads, if it can be had and answers with the same bytes; else the one that there is."""
        model = file.model
        try:
            with self._runtime.translated(model.spec.name):
                exclusive = self._runtime.open(file.read(), model, self.threads.all, exclusive=True)
            if self._agree(model, beside, exclusive):
                return exclusive
            log.warning("model %s answers otherwise with %d threads: pictures get one", model.spec.name, self.threads.all)
        except ServiceError as error:
            log.warning("model %s cannot be opened for %d threads: %s", model.spec.name, self.threads.all, error.detail)
        return beside

    def _agree(self, model: Model, *networks: Network) -> bool:
        """Whether networks answer with the same bytes.

        Looked at for a side of a prime number of multiples: threads share an operator's values out in equal blocks, and where those
        end inside a vector ONNX Runtime's logarithm answers otherwise in the last bit. A rounder size would hide it.
        """
        multiples = next(k for k in count(math.isqrt(WIDE_PIXELS) // model.spec.size_multiple + 1) if is_prime(k))
        feeds = golden_input(model.spec, multiples * model.spec.size_multiple)
        answers = [self._call(network, feeds, Cancellation(), model) for network in networks]
        return all(np.array_equal(a, b) for a, b in zip(*answers, strict=True))


@dataclass(frozen=True)
class _Candidate:
    """A version that takes no traffic yet, as an engine that knows it alone."""

    engine: LocalEngine
    model: Model
    networks: Networks

    async def predict(self, x_t: Array, condition: Array | None, time: Array, ticket: Ticket) -> Outputs:
        return await self.engine.run(self.model, self.networks, to_feeds(x_t, condition, time), ticket)


def is_prime(number: int) -> bool:
    """For a number of at least 2."""
    return all(number % divisor for divisor in range(2, math.isqrt(number) + 1))
