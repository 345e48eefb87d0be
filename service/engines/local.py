"""An engine inside the gateway's own process: calls run in a pool of threads, by whatever runtime opens the model files.

A call that is cancelled, or whose deadline passes, never starts, or stops.

Calls side by side have a thread each: nothing yields more pictures a second. Large calls have threads of their own, which give way
to those of small ones: the operating system shares the cores, and no small picture waits for a large call. A picture that has the
engine to itself and is one call would leave all cores but one idle, so for it a model is opened a second time, with all threads,
when the first such picture comes. Where both do not answer with the same bytes that one is not used. A command that restores one
picture opens it first, and the other one only for a picture of several tiles.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, partial
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
    FILLED_ROWS,
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


class Network(Protocol):
    """A model file that a runtime has opened."""

    def run(self, feeds: Feeds, ended: Future[None], /) -> Outputs:
        """The outputs in order, in the kind of arrays that came in. Raises the runtime's own errors.

        ended: done once nobody waits for them any longer: its callbacks, called in another thread, stop a call that still runs.
        """
        ...


class Runtime(Protocol):
    """Opens model files; all that an engine in this process adds to `LocalEngine`.

    scales: whether a network of more threads answers sooner, as on a CPU, where rows cost as much together as apart.
    """

    scales: bool

    def open(self, data: bytes, model: Model, threads: int, *, exclusive: bool = False) -> Network:
        """A network whose calls use so many threads. exclusive: they have the cores to themselves. Raises the runtime's errors."""
        ...

    def open_tiled(self, data: bytes, model: Model, threads: int) -> Network | None:  # noqa: ARG002
        """A network for tiles, where they have one of their own; they are many, so opening may cost more than a call."""
        return None

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
    """One model, opened for calls side by side, or for a call that has all threads to itself; for the other kind once it is of use.

    open_other: is given the first network, and makes one for calls of the other kind, at the first such call: most starts never see
    one. It gives both back, as they are to be used from then on. None where every call takes the first. open_tiled: makes one for
    tiles at the first of them; None where they take those of other calls.
    """

    def __init__(
        self,
        first: Network,
        open_other: Callable[[Network], tuple[Network, Network]] | None = None,
        *,
        first_is_exclusive: bool = False,
        open_tiled: Callable[[], Network | None] = lambda: None,
    ) -> None:
        self.first = first
        self._tiled = cache(open_tiled)
        self._first_is_exclusive = first_is_exclusive
        self._other: Network | None = None
        self._open_other = open_other
        self._opening = threading.Lock()

    def suited(self, ticket: Ticket) -> Network:
        """The one to call; it may take as long as a few calls."""
        if ticket.tiled:
            with self._opening:
                tiled = self._tiled()
            if tiled is not None:
                return tiled
        if self._open_other is None or ticket.exclusive == self._first_is_exclusive:
            return self.first
        with self._opening:
            if self._other is None:
                self.first, self._other = self._open_other(self.first)
            return self._other


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

    @property
    def filled_rows(self) -> int:
        """See ServingEngine."""
        return 1 if self._runtime.scales else FILLED_ROWS

    async def close(self) -> None:
        """Drop queued calls, let running ones end, and free the models."""
        for pool in (self._small, self._large):
            await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)
        await super().close()

    def predict(self, x_t: Array, condition: Array | None, time: Array, ticket: Ticket) -> Coroutine[Any, Any, Outputs]:
        """See `service.engines.contract.Engine`."""
        model, networks = self._versions.find(ticket.weights)
        return self.run(model, networks, to_feeds(x_t, condition, time), ticket)

    async def run(self, model: Model, networks: Networks, feeds: Feeds, ticket: Ticket) -> Outputs:
        """A call of an opened version, which need not take traffic."""
        ended: Future[None] = Future()
        seconds = None if ticket.deadline is None else ticket.deadline - time.monotonic()
        if seconds is not None and seconds <= 0:
            raise DeadlineExceeded("the deadline passed before the network was called")
        pool = self._large if math.prod(feeds[X_T].shape[2:]) > LARGE_PIXELS else self._small
        call = pool.submit(self._call, networks, feeds, ended, model, ticket)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(call)
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed while the network ran") from error
        finally:
            ended.set_result(None)

    def open(self, file: ModelFile) -> Networks:
        """See LocalRepository."""
        model = file.model
        large = model.spec.image_size is None and most_pixels(model.spec) >= WIDE_PIXELS
        widens = large and self._runtime.scales and self.threads.all > self.threads.each
        exclusive = widens and self.one_request
        with part(f"{model.spec.name}: read"):
            data = file.read()
        with part(f"{model.spec.name}: session"):
            first = self._opened(data, model, exclusive=exclusive)
        open_other = partial(self._open_beside if exclusive else self._open_exclusive, file)
        open_tiled = partial(self._open_tiled, file)
        return Networks(first, open_other if widens else None, first_is_exclusive=exclusive, open_tiled=open_tiled)

    def _opened(self, data: bytes, model: Model, *, exclusive: bool) -> Network:
        threads = self.threads.all if exclusive else self.threads.each
        with self._runtime.translated(model.spec.name):
            return self._runtime.open(data, model, threads, exclusive=exclusive)

    def engine_of(self, model: Model, handle: Networks) -> Engine:
        """See LocalRepository."""
        return _Candidate(self, model, handle)

    def _call(self, networks: Networks, feeds: Feeds, ended: Future[None], model: Model, ticket: Ticket) -> Outputs:
        """Raises InvalidValue for what the graph does not take, BadAnswer, and the runtime's errors as the service's own."""
        network = networks.suited(ticket)
        if ticket.on_start is not None:
            ticket.on_start()
        check_feeds(feeds, model)
        with self._runtime.translated(model.spec.name):
            outputs = network.run(feeds, ended)
        check_outputs(outputs, feeds[X_T], model)
        if all(isinstance(output, np.ndarray) for output in outputs):
            check_finite(outputs, model)
        return outputs

    def _open_tiled(self, file: ModelFile) -> Network | None:
        """For tiles alone, if the runtime has such a network, and the file is still there."""
        try:
            with self._runtime.translated(file.model.spec.name):
                return self._runtime.open_tiled(file.read(), file.model, self.threads.each)
        except ServiceError as error:
            log.warning("tiles of model %s are called like whole pictures: %s", file.model.spec.name, error.detail)
        return None

    def _open_exclusive(self, file: ModelFile, beside: Network) -> tuple[Network, Network]:
        """(for calls side by side, of all threads), if the latter can be had and answers with the same bytes; else one for both."""
        name = file.model.spec.name
        try:
            exclusive = self._opened(file.read(), file.model, exclusive=True)
            return beside, exclusive if self._agree(file.model, beside, exclusive) else beside
        except ServiceError as error:
            log.warning("model %s cannot be opened for %d threads: %s", name, self.threads.all, error.detail)
        return beside, beside

    def _open_beside(self, file: ModelFile, exclusive: Network) -> tuple[Network, Network]:
        """(of all threads, for calls side by side) where both answer with the same bytes; else the latter for both."""
        beside = self._opened(file.read(), file.model, exclusive=False)
        return exclusive if self._agree(file.model, beside, exclusive) else beside, beside

    def _agree(self, model: Model, *networks: Network) -> bool:
        """Whether networks answer with the same bytes; logged where they do not.

        Looked at for a side of a prime number of multiples: threads share an operator's values out in equal blocks, and where those
        end inside a vector ONNX Runtime's logarithm answers otherwise in the last bit. A rounder size would hide it.
        """
        multiples = next(k for k in count(math.isqrt(WIDE_PIXELS) // model.spec.size_multiple + 1) if is_prime(k))
        feeds = golden_input(model.spec, multiples * model.spec.size_multiple)
        ticket = Ticket(model.weights, "agreement", "engine")
        outputs = [self._call(Networks(network), feeds, Future(), model, ticket) for network in networks]
        agree = all(np.array_equal(a, b) for a, b in zip(*outputs, strict=True))
        if not agree:
            log.warning("model %s answers otherwise with %d threads: pictures get one", model.spec.name, self.threads.all)
        return agree


@dataclass(frozen=True)
class _Candidate:
    """A version that takes no traffic yet, as an engine that knows it alone."""

    engine: LocalEngine
    model: Model
    networks: Networks

    def predict(self, x_t: Array, condition: Array | None, time: Array, ticket: Ticket) -> Coroutine[Any, Any, Outputs]:
        return self.engine.run(self.model, Networks(self.networks.first), to_feeds(x_t, condition, time), ticket)


def is_prime(number: int) -> bool:
    """For a number of at least 2."""
    return all(number % divisor for divisor in range(2, math.isqrt(number) + 1))
