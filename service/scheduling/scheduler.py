"""The scheduler: an engine in front of an engine, which makes one batch of rows of many pictures, callers and steps.

When the engine has a place, take the fairest head, fill its batch with what waits and fits, up to the size that pays. Large calls
have places of their own, in which small pictures never wait for them.

The network is pure in (x_t, x_in, t) with t per row, so a batch may mix anything that has one shape and the same weights. The order
of rows: `fair_queue`. Which sizes pay: `learning`. What calls cost: `costs`. Admission, and how long work will take: `admit` and
`estimate`.
"""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic

from service.engines.arrays import HOST, Arrays, offload
from service.engines.contract import Array, Engine, Model, Outputs, Ticket
from service.errors import BadAnswer, OutOfMemory, QueueFull
from service.scheduling.admission import Demand
from service.scheduling.batch import Batch, QueuedRows, RequestState
from service.scheduling.costs import Costs, Shape, is_large, is_wide, pixels
from service.scheduling.fair_queue import FairQueue
from service.scheduling.learned import LearnedFile
from service.scheduling.learning import Learner
from service.telemetry.tracing import batch_span

WHOLE_DEPTH = 2  # calls of whole pictures in flight per instance
MAX_TRIES = 20  # calls that rows may be part of while the engine is full or short of memory
QUIET_CALLS = 2.0  # of its own length, without another request, before a call gets the whole engine
MIN_PAUSE = 0.01  # seconds before an engine that was full is asked again


OnCall = Callable[[str, int, float, float], None]  # a call's model, its rows, its seconds, how long its oldest rows waited


class Scheduler:
    """An engine in front of an engine that runs `instances` calls side by side, and the admission to it.

    instances: a number, or a function that gives it: servers come and go. queue_megapixel_steps: work admitted at once; a picture
    that finds nothing admitted is let in whatever its size. on_call: called for each call, in the event loop. file: where what is
    learnt of models is kept. filled_rows: see `ServingEngine`.
    """

    def __init__(
        self,
        engine: Engine,
        instances: int | Callable[[], int] = 1,
        queue_megapixel_steps: float = math.inf,
        arrays: Arrays = HOST,
        *,
        on_call: OnCall | None = None,
        file: LearnedFile | None = None,
        filled_rows: int = 1,
    ) -> None:
        self._engine, self._given_instances, self._arrays = engine, instances, arrays
        self._most_pending, self._on_call = queue_megapixel_steps, on_call or (lambda *_: None)
        self.costs = Costs()
        self.learner = Learner(engine, arrays, file or LearnedFile(None, ""), filled_rows)
        self._queue: FairQueue[QueuedRows] = FairQueue()
        self._requests: dict[tuple[str, str], RequestState] = {}
        self._running: dict[Batch, asyncio.Task[None]] = {}
        self._shared_at = -math.inf  # when several requests were last in work at once
        self._is_scheduled = False  # whether a dispatch will run after this turn of the event loop

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
        return self.costs.capacity(self.instances)

    @property
    def requests(self) -> int:
        """Requests that are admitted and not done."""
        return len(self._requests)

    def remaining(self, caller: str, request: str) -> float | None:
        """Megapixel-steps of a request that are not done, which sink with every tile; None where it is not admitted.

        Its pictures may have names of their own: `request-0`, `request-1`.
        """
        own = (state for state in self._requests.values() if state.caller == caller)
        parts = [state.remaining for state in own if f"{state.name}-".startswith(f"{request}-")]
        return sum(parts) if parts else None

    @property
    def waiting(self) -> int:
        """Items that wait for a batch."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Batches with the engine."""
        return len(self._running)

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
        for item in list(self._queue.items()):
            item.answer.cancel()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Admission

    @contextmanager
    def admit(self, work: Demand, /) -> Iterator[None]:
        """Holds a place for one picture. Raises QueueFull if the work already admitted leaves no room for it."""
        over = self.pending + work.megapixel_steps - self._most_pending
        if self.pending > 0 and over > 0:
            seconds = over * self.costs.seconds_per_megapixel(work.shape) / self.instances
            raise QueueFull(
                f"{self.pending:.0f} megapixel-steps are in work, this picture adds {work.megapixel_steps:.1f}; "
                f"{self._most_pending:.0f} are allowed",
                retry_after=float(max(1, math.ceil(seconds))) if math.isfinite(seconds) else 1.0,
            )
        request = self._request(work.ticket)
        request.tiles, request.pictures = work.tiles, request.pictures + 1
        request.remaining += work.megapixel_steps
        try:
            yield
        finally:
            request.pictures -= 1
            request.remaining = request.remaining if request.pictures else 0.0
            self._drop_if_idle(request)

    def estimate(self, work: Demand, pictures: int = 1) -> float:
        """Seconds until so many pictures of such work would be done; NaN while no call of its weights was measured.

        That is its own calls, each behind one that runs already; or, if that is longer, its share of the engine, where every other
        caller takes as much while it has work.
        """
        shape, caller, tiles = work.shape, work.ticket.caller, work.tiles * pictures
        in_turn = math.ceil(tiles / self.instances) + (self._beside(shape) >= self.instances)
        remaining: dict[str, float] = {caller: work.megapixel_steps * pictures}
        for request in self._requests.values():
            remaining[request.caller] = remaining.get(request.caller, 0.0) + request.remaining
        shared = sum(min(others, remaining[caller]) for others in remaining.values()) / self.instances
        rate = self.costs.seconds_per_megapixel(shape, exclusive=tiles == 1 and not self._requests)
        return rate * max(work.megapixel_steps / work.tiles * in_turn, shared)

    # The queue

    async def predict(self, x_t: Array, condition: Array | None, time: Array, ticket: Ticket) -> Outputs:
        """The engine's answer for these rows, in a batch with others. Raises what the engine raises."""
        request = self._request(ticket)
        item = QueuedRows((x_t, condition, time), ticket, request)
        self._queue.push(request.caller, request.name, item, item.megapixels)
        self._dispatch_soon()
        request.asking += 1
        try:
            return await item.answer
        except asyncio.CancelledError:
            self._leave(item)
            raise
        finally:
            request.asking -= 1
            self._drop_if_idle(request)

    def _request(self, ticket: Ticket) -> RequestState:
        """The state of a request; one that was not admitted has one for as long as it asks."""
        key = ticket.caller, ticket.request
        if key not in self._requests:
            self._shared_at = monotonic() if self._requests else self._shared_at
            self._requests[key] = RequestState(*key)
            self.learner.wake(ticket.weights)
        return self._requests[key]

    def _drop_if_idle(self, request: RequestState) -> None:
        """Forgets a request that is neither admitted nor asking."""
        if not (request.pictures or request.asking):
            self._requests.pop((request.caller, request.name), None)
            self._queue.forget(request.caller, request.name)
            if self._requests:
                self._shared_at = monotonic()
            else:
                self.learner.rest()

    def _leave(self, item: QueuedRows) -> None:
        """A caller has left: its rows leave the queue, or the engine, if no other caller waits for their batch."""
        if item.batch is None:
            self._queue.discard(item.ticket.caller, item.ticket.request, item)
        elif all(other.answer.cancelled() for other in item.batch.items):
            self._running[item.batch].cancel()

    # Dispatch to the engine

    def _dispatch_soon(self) -> None:
        """Dispatches after this turn of the event loop, so that requests that are answered together ask together."""
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        """While the engine has a place: takes the fairest head of those for which it has, and fills its batch with what fits."""
        self._is_scheduled = False
        while (head := self._queue.take(self._has_place)) is not None:
            batch = self._gather(head)
            self._running[batch] = asyncio.create_task(self._run(batch))
            self._running[batch].add_done_callback(partial(self._finish, batch))

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

    def _best(self, shape: Shape) -> int:
        """Rows of the largest batch that pays."""
        return self.learner.sizes_of(shape[0]).best(pixels(shape))

    def _gather(self, head: QueuedRows) -> Batch:
        """The rows of one batch, in fair order, with those of this head first."""
        items, free = [head], self._best(head.shape) - head.rows

        def fits(item: QueuedRows) -> bool:
            alike = item.shape == head.shape and item.ticket.tiled == head.ticket.tiled
            return alike and item.rows <= free and not (item.isolated or head.isolated)

        while free > 0 and (item := self._queue.take(fits)) is not None:
            items.append(item)
            free -= item.rows
        return Batch(items, self._is_exclusive(items))

    def _is_exclusive(self, items: list[QueuedRows]) -> bool:
        """Whether one large call is all there is: no other request is admitted, and nothing of its own follows before it is done.

        A request that was here a moment ago is likely to come back before the call is done.
        """
        request, shape = items[0].request, items[0].shape
        lone = is_wide(shape) and len(self._requests) == len(items) == request.tiles == request.asking == 1
        return lone and not monotonic() - self._shared_at < QUIET_CALLS * self.costs.call_seconds(shape)

    async def _run(self, batch: Batch) -> None:
        """One batch to the engine and its answers to the callers, or what becomes of them otherwise."""
        try:
            for item, outputs in zip(batch.items, batch.split(await self._call(batch)), strict=True):
                item.request.remaining = max(0.0, item.request.remaining - item.megapixels)
                if not item.answer.done():
                    item.answer.set_result(outputs)
        except Exception as error:  # whatever it is, the waiting requests must get it
            await self._recover(batch, error)
        finally:
            self._finish(batch)

    def _finish(self, batch: Batch, _task: object = None) -> None:
        """Nothing of a batch stays behind, not even of one whose task was cancelled before it began."""
        if self._running.pop(batch, None) is not None:
            for item in batch.items:
                if item.batch is batch:  # else it waits again
                    item.batch = None  # or the cycle would hold the batch's arrays until the garbage collector comes by
                    item.answer.cancel()
            self._dispatch_soon()

    async def _call(self, batch: Batch) -> Outputs:
        """The engine's answer for all rows."""
        filled = self.learner.sizes_of(batch.shape[0]).filled(batch.rows, pixels(batch.shape))
        waited = monotonic() - min(item.asked for item in batch.items)
        copied = 3 * filled * pixels(batch.shape) if len(batch.items) > 1 else 0
        inputs = await offload(copied, batch.join, self._arrays, filled)
        is_behind, sent = self._beside(batch.shape) > self.instances, monotonic()
        starts: list[float] = []  # nothing of the batch: engines may keep tickets
        ticket = batch.ticket(lambda: starts.append(monotonic()))
        with batch_span(inputs[0], ticket, [item.span for item in batch.items]):
            outputs = await self._engine.predict(*inputs, ticket)
        seconds = monotonic() - (starts[0] if starts else sent)
        # A call that may have waited behind another one, or had the whole engine while others came, says nothing of costs.
        if (starts or not is_behind) and not (batch.exclusive and self._shared_at >= sent):
            instances = self.instances if batch.exclusive else 1
            self.costs.record(batch.shape, filled, seconds, instances, exclusive=batch.exclusive)
        self._on_call(batch.shape[0].name, batch.rows, seconds, waited)
        return outputs

    async def _recover(self, batch: Batch, error: Exception) -> None:
        """Items that deserve another call get it instead of this error: in smaller batches, a call's length later, or isolated."""
        shape, tries = batch.shape, MAX_TRIES
        sizes = self.learner.sizes_of(shape[0])
        rows = sizes.filled(batch.rows, pixels(shape))
        if isinstance(error, OutOfMemory) and rows > 1:
            self.learner.sizes[shape[0]] = sizes.without(rows, pixels(shape))
        elif isinstance(error, QueueFull):  # the engine's; this batch keeps its place meanwhile
            seconds = self.costs.call_seconds(shape)
            await asyncio.sleep(max(MIN_PAUSE, seconds if math.isfinite(seconds) else 0.0))
        elif isinstance(error, BadAnswer) and len(batch.items) > 1:
            for item in batch.items:
                item.isolated = True
        else:
            tries = 0
        for item in batch.items:
            if not item.answer.done():
                if item.tries >= tries:
                    item.answer.set_exception(error)
                else:
                    item.batch = None
                    self._queue.push(item.request.caller, item.request.name, item, 0.0, first=True)
