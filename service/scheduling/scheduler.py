"""The scheduler: an engine in front of an engine, which makes one batch of rows of many pictures, callers and steps.

When the engine has a place, take the fairest head, fill its batch with what waits and fits, up to the size that pays. Large calls
have places of their own, in which small pictures never wait for them.

The network is pure in (x_t, x_in, t) with t per row, so a batch may mix anything that has one shape and the same weights. The order
of rows: `fair_queue`. Which sizes pay: `batch_sizes`, proven by `learning`. What calls cost: `costs`. Admission, and how long work
will take: `admit` and `estimate`.
"""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

from service.engines.arrays import HOST, Arrays, offload
from service.engines.contract import WIDE_PIXELS, Engine, Model, Outputs, Ticket, Weights
from service.errors import BadAnswer, DeadlineExceeded, OutOfMemory, QueueFull
from service.scheduling.admission import Load
from service.scheduling.batch import Batch, QueuedRows, RequestState, is_large, shape_of
from service.scheduling.capacity import Capacity
from service.scheduling.costs import Costs, Shape, pixels
from service.scheduling.fair_queue import FairQueue
from service.scheduling.learned import LearnedFile
from service.scheduling.learning import Learner
from service.telemetry.tracing import batch_span, current_span

Array = Any

WHOLE_DEPTH = 2  # calls of whole pictures in flight per instance
MAX_TRIES = 20  # calls that rows may be part of while the engine is full or short of memory
QUIET_CALLS = 2.0  # of its own length, without another request, before a call gets the whole engine
MIN_PAUSE = 0.01  # seconds before an engine that was full is asked again


@dataclass(frozen=True)
class Limits:
    """queue_megapixel_steps: work admitted at once; a picture that finds nothing admitted is let in whatever its size.

    small_weight: how many times its share a picture of one tile may take beside a tiled one.
    """

    queue_megapixel_steps: float = 400.0
    small_weight: float = 4.0


@dataclass(frozen=True)
class Call:
    """A finished call: its rows, those it was filled up to, its seconds, and how long its oldest rows waited."""

    model: str
    rows: int
    filled: int
    seconds: float
    waited: float


class Scheduler:
    """An engine in front of an engine that runs `instances` calls side by side, and the admission to it.

    instances: a number, or a function that gives it: servers come and go. on_call: called for each call, in the event loop.
    file: where what is learnt of models is kept.
    """

    def __init__(
        self,
        engine: Engine,
        instances: int | Callable[[], int] = 1,
        limits: Limits | None = None,
        arrays: Arrays = HOST,
        *,
        on_call: Callable[[Call], None] | None = None,
        file: LearnedFile | None = None,
    ) -> None:
        self._engine, self._given_instances, self._limits, self._arrays = engine, instances, limits or Limits(), arrays
        self._on_call = on_call
        self.costs = Costs()
        self.learner = Learner(engine, arrays, self.costs, file or LearnedFile(None, ""))
        self._capacity = Capacity()
        self._queue: FairQueue[QueuedRows] = FairQueue()
        self._requests: dict[tuple[str, str], RequestState] = {}
        self._running: set[Batch] = set()
        self._shared_at = -math.inf  # when several requests were last in work at once
        self._scheduled = False  # whether a dispatch will run after this turn of the event loop
        self._paused: asyncio.TimerHandle | None = None

    @property
    def instances(self) -> int:
        """Calls that the engine runs side by side now."""
        return self._given_instances if isinstance(self._given_instances, int) else max(1, self._given_instances())

    @property
    def pending(self) -> float:
        """Megapixel-steps that are admitted and not done."""
        return sum(request.remaining for request in self._requests.values())

    @property
    def capacity(self) -> float:
        """Megapixel-steps a second of the engine when it is busy, from its calls so far; 0 before the first."""
        return self._capacity.per_second(self.instances)

    @property
    def requests(self) -> int:
        """Requests that are admitted and not done."""
        return len(self._requests)

    def remaining(self, caller: str, request: str) -> float | None:
        """Megapixel-steps of a request that are not done, which sink with every tile; None where it is not admitted.

        Its pictures may have names of their own: `request-0`, `request-1`.
        """
        states = [
            state
            for (whose, name), state in self._requests.items()
            if whose == caller and (name == request or name.startswith(f"{request}-"))
        ]
        return sum(state.remaining for state in states) if states else None

    @property
    def waiting(self) -> int:
        """Items that wait for a batch."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Batches with the engine."""
        return len(self._running)

    @property
    def batches(self) -> frozenset[Batch]:
        """Those with the engine."""
        return frozenset(self._running)

    @property
    def idle(self) -> bool:
        """Whether no request is admitted, waits or runs, and nothing of earlier ones is left."""
        return not (self._requests or self._running or self._queue or self._queue.callers)

    def introduce(self, model: Model) -> None:
        """Makes a model known before its first work, so that its batch sizes are looked up, or proven in idle moments."""
        self.learner.introduce(model)

    async def close(self) -> None:
        """Cancels what waits and what runs."""
        await self.learner.close()
        if self._paused is not None:
            self._paused.cancel()
        for item in list(self._queue.items()):
            item.answer.cancel()
        tasks = [batch.task for batch in self._running if batch.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Admission

    @contextmanager
    def admit(self, ticket: Ticket, load: Load, /) -> Iterator[None]:
        """Holds a place for one picture. Raises QueueFull if the work already admitted leaves no room for it."""
        self._check_room(ticket, load)
        request = self._request(ticket)
        request.weight = self._limits.small_weight if load.tiles == 1 else 1.0
        request.pictures, request.remaining = request.pictures + 1, request.remaining + load.megapixel_steps
        request.tiles = load.tiles
        try:
            yield
        finally:
            request.pictures -= 1
            request.remaining = request.remaining if request.pictures else 0.0
            self._drop_if_idle(request)
            self._dispatch_soon()

    def _check_room(self, ticket: Ticket, load: Load) -> None:
        pending, bound = self.pending, self._limits.queue_megapixel_steps
        over = pending + load.megapixel_steps - bound
        if pending > 0 and over > 0:
            seconds = self._seconds(ticket.weights, over)
            raise QueueFull(
                f"{pending:.0f} megapixel-steps are in work, this picture adds {load.megapixel_steps:.1f}; {bound:.0f} are allowed",
                retry_after=float(max(1, math.ceil(seconds))) if math.isfinite(seconds) else 1.0,
            )

    def _seconds(self, weights: Weights, megapixel_steps: float) -> float:
        """How long the engine takes for so much work with all its instances busy; NaN if no call was measured."""
        return megapixel_steps * self.costs.seconds_per_megapixel(weights) / self.instances

    def estimate(self, weights: Weights, load: Load, caller: str) -> float:
        """Seconds until such work of this caller would be done; NaN while no call of these weights was measured.

        That is its own calls, each behind one that runs already; or, if that is longer, its share of the engine, where every other
        caller takes as much while it has work.
        """
        shape = (weights, load.height, load.width)
        if load.tiles == 1 and not self._requests:
            return self.costs.call_seconds(shape, exclusive=True) * load.steps
        call = self.costs.call_seconds(shape)
        behind = 1 if self._beside(shape) >= self.instances else 0
        alone = call * load.steps * (math.ceil(load.tiles / self.instances) + behind)
        work: dict[str, float] = {caller: load.megapixel_steps}
        for request in self._requests.values():
            work[request.ticket.caller] = work.get(request.ticket.caller, 0.0) + request.remaining
        shared = self._seconds(weights, sum(min(others, work[caller]) for others in work.values()))
        return max(alone, shared)

    def is_measured(self, weights: Weights) -> bool:
        """Whether estimates come from calls of this process, and not only from an earlier one's."""
        return self.costs.is_measured(weights)

    # The queue

    async def predict(self, x_t: Array, condition: Array | None, time: Array, ticket: Ticket) -> Outputs:
        """The engine's answer for these rows, in a batch with others. Raises what the engine raises, and DeadlineExceeded."""
        shape = shape_of(x_t, ticket)
        answer: asyncio.Future[Outputs] = asyncio.get_running_loop().create_future()
        item = QueuedRows((x_t, condition, time), ticket, self._request(ticket), shape, answer, monotonic(), current_span())
        self._enqueue(item)
        self._dispatch_soon()
        try:
            return await item.answer
        except asyncio.CancelledError:
            self._leave(item)
            raise

    def _request(self, ticket: Ticket) -> RequestState:
        """The state of a request; one that was not admitted has one for as long as it asks."""
        key = (ticket.caller, ticket.request)
        if key not in self._requests:
            self._requests[key] = RequestState(ticket, self._limits.small_weight)
            self.learner.wake()
            self._mark_shared()
        return self._requests[key]

    def _mark_shared(self) -> None:
        if len(self._requests) > 1:
            self._shared_at = monotonic()

    def _drop_if_idle(self, request: RequestState) -> None:
        """Forgets a request that is neither admitted nor asking."""
        if not (request.pictures or request.waiting or request.running):
            self._mark_shared()
            self._requests.pop((request.ticket.caller, request.ticket.request), None)
            self._queue.forget(request.ticket.caller, request.ticket.request)
            if not self._requests:
                self.learner.rest()

    def _enqueue(self, item: QueuedRows, *, retried: bool = False) -> None:
        item.request.waiting += 1
        item.batch = None
        put = self._queue.put_back if retried else self._queue.push
        put(item.ticket.caller, item.ticket.request, item, item.megapixels / item.request.weight)

    def _leave(self, item: QueuedRows) -> None:
        """A caller has left: its rows leave the queue, or the engine, if no other caller waits for their batch."""
        if item.batch is not None:
            if item.batch.task is not None and all(other.answer.cancelled() for other in item.batch.items):
                item.batch.task.cancel()
        elif self._queue.discard(item.ticket.caller, item.ticket.request, item):
            item.request.waiting -= 1
            self._drop_if_idle(item.request)
            self._dispatch_soon()

    # Dispatch to the engine

    def _dispatch_soon(self) -> None:
        """Dispatches after this turn of the event loop, so that requests that are answered together ask together."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        """While the engine has a place: takes the fairest head of those for which it has, and fills its batch with what fits."""
        self._scheduled = False
        while not self._paused and (head := self._queue.head(self._has_place)) is not None:
            if (batch := self._start(self._gather(head.shape, monotonic()))) is not None:
                batch.task = asyncio.create_task(self._run(batch))
                batch.task.add_done_callback(partial(self._finish, batch))

    def _has_place(self, head: QueuedRows) -> bool:
        """Whether a batch that begins with this item may go out now: large calls have places of their own, as many as small ones.

        Of pictures of one tile a second one per instance is ready when the first ends: it covers the step between two calls. Tiles
        of a large picture would stand in a small one's way there, and where batches pay it would split one.
        """
        is_quick = head.request.tiles == 1 and not is_large(head.shape) and self._best(head.shape) == 1
        return self._beside(head.shape) < self.instances * (WHOLE_DEPTH if is_quick else 1)

    def _beside(self, shape: Shape) -> int:
        """Batches with the engine that have places of the kind that this shape needs."""
        return sum(is_large(batch.shape) == is_large(shape) for batch in self._running)

    def _pause(self, seconds: float) -> None:
        """Starts nothing for a while: the engine is full."""
        self._resume()
        self._paused = asyncio.get_running_loop().call_later(seconds, self._resume)

    def _resume(self) -> None:
        if self._paused is not None:
            self._paused.cancel()
        self._paused = None
        self._dispatch_soon()

    def _best(self, shape: Shape) -> int:
        """Rows of the largest batch that pays."""
        return self.costs.sizes(shape[0]).best(pixels(shape))

    def _gather(self, shape: Shape, now: float) -> list[QueuedRows]:
        """The rows of one batch, in fair order; rows whose deadline has passed get that as their error."""
        room = self._best(shape)
        items: list[QueuedRows] = []
        rows = 0

        def fits(item: QueuedRows) -> bool:
            if item.shape != shape or not items:
                return item.shape == shape
            return rows + item.rows <= room and not (item.isolated or any(other.isolated for other in items))

        while rows < room and (item := self._queue.take(fits)) is not None:
            item.request.waiting -= 1
            if item.answer.done():  # its caller leaves in this very turn of the event loop
                self._drop_if_idle(item.request)
            elif item.ticket.deadline is None or item.ticket.deadline > now:
                items.append(item)
                rows += item.rows
            else:
                _fail([item], DeadlineExceeded("the deadline passed while the picture waited for the engine"))
                self._drop_if_idle(item.request)
        return items

    def _start(self, items: list[QueuedRows]) -> Batch | None:
        """The items as a batch that counts as running; None of none."""
        if not items:
            return None
        batch = Batch(items, exclusive=self._is_exclusive(items), is_behind=self._beside(items[0].shape) >= self.instances)
        for item in items:
            item.batch, item.tries = batch, item.tries + 1
            item.request.running += 1
        self._running.add(batch)
        return batch

    def _is_exclusive(self, items: list[QueuedRows]) -> bool:
        """Whether one large call is all there is: no other request is admitted, and nothing of its own follows before it is done.

        A request that was here a moment ago is likely to come back before the call is done.
        """
        request, shape, large = items[0].request, items[0].shape, items[0].megapixels * 1e6 >= WIDE_PIXELS
        lone = large and len(self._requests) == len(items) == request.tiles == 1 and not (request.waiting or request.running)
        return lone and not monotonic() - self._shared_at < QUIET_CALLS * self.costs.call_seconds(shape)

    async def _run(self, batch: Batch) -> None:
        """One batch to the engine and its answers to the callers, or what becomes of them otherwise."""
        try:
            for item, answer in zip(batch.items, await self._call(batch), strict=True):
                self._deliver(item, answer)
        except Exception as error:  # whatever it is, the waiting requests must get it
            batch.retry = self._retryable(batch, error)
        finally:
            self._finish(batch)

    def _finish(self, batch: Batch, _task: object = None) -> None:
        """Nothing of a batch stays behind, not even of one whose task was cancelled before it began."""
        if batch not in self._running:
            return
        self._running.remove(batch)
        for item in batch.items:
            item.batch = None  # or the cycle would hold the batch's arrays until the garbage collector comes by
            item.request.running -= 1
            if item in batch.retry:
                self._enqueue(item, retried=True)
            elif not item.answer.done():
                item.answer.cancel()
            self._drop_if_idle(item.request)
        self._dispatch_soon()

    async def _call(self, batch: Batch) -> list[Outputs]:
        """The engine's answer, one for each item."""
        filled = self.costs.sizes(batch.shape[0]).filled(batch.rows, pixels(batch.shape))
        waited = monotonic() - min(item.asked for item in batch.items)
        copied = 3 * filled * pixels(batch.shape) if len(batch.items) > 1 else 0
        inputs = await offload(copied, batch.join, self._arrays, filled)
        sent = monotonic()
        with batch_span(inputs[0], batch.ticket, [item.span for item in batch.items]):
            outputs = await self._engine.predict(*inputs, batch.ticket)
        self._record(batch, filled, sent, monotonic(), waited)
        return batch.split(outputs)

    def _record(self, batch: Batch, filled: int, sent: float, ended: float, waited: float) -> None:
        """A call that was sent and has ended then; the engine may say when it started.

        It says nothing of costs where it may have waited behind another one, nor where it had the whole engine and others came.
        """
        seconds = ended - (batch.clock.started or sent)
        is_known = batch.clock.started is not None or not batch.is_behind
        if is_known and not (batch.exclusive and self._shared_at >= sent):
            self.costs.record(batch.shape, filled, seconds, exclusive=batch.exclusive)
            self._capacity.record(batch.rows * pixels(batch.shape) / 1e6, seconds, self.instances if batch.exclusive else 1)
        if self._on_call is not None:
            self._on_call(Call(batch.shape[0].name, batch.rows, filled, seconds, waited))

    @staticmethod
    def _deliver(item: QueuedRows, outputs: Outputs) -> None:
        item.request.remaining = max(0.0, item.request.remaining - item.megapixels)
        if not item.answer.done():
            item.answer.set_result(outputs)

    def _retryable(self, batch: Batch, error: Exception) -> list[QueuedRows]:
        """The items that deserve another call: in smaller batches, later, or isolated. The others get the error."""
        sizes = self.costs.sizes(batch.shape[0])
        size = sizes.filled(batch.rows, pixels(batch.shape))
        if isinstance(error, OutOfMemory) and size > 1:
            sizes.shrink(size, pixels(batch.shape))
        elif isinstance(error, QueueFull):
            pause = self.costs.call_seconds(batch.shape)
            self._pause(max(MIN_PAUSE, 0.0 if math.isnan(pause) else pause))
        elif isinstance(error, BadAnswer) and len(batch.items) > 1:
            for item in batch.items:
                item.isolated = True
        else:
            _fail(batch.items, error)
        _fail([item for item in batch.items if item.tries >= MAX_TRIES], error)
        return [item for item in batch.items if not item.answer.done()]


def _fail(items: list[QueuedRows], error: Exception) -> None:
    for item in items:
        if not item.answer.done():
            item.answer.set_exception(error)
