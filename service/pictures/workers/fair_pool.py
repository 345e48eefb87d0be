"""Few things that many callers want one at a time, lent in fair order: no caller waits for all of another's requests."""

import asyncio
from typing import Generic, TypeVar

from service.scheduling.fair_queue import FairQueue

T = TypeVar("T")


class FairPool(Generic[T]):
    """Lends things out; the one given back last is lent first. Its length is the number of things that lie idle."""

    def __init__(self) -> None:
        self._idle: list[T] = []
        self._queue: FairQueue[asyncio.Future[T]] = FairQueue()

    def __len__(self) -> int:
        return len(self._idle)

    def put(self, thing: T) -> None:
        """To whoever is next, else among the idle."""
        while (waiting := self._queue.take()) is not None:
            if not waiting.done():  # else its caller is leaving in this very turn of the event loop
                waiting.set_result(thing)
                return
        self._idle.append(thing)

    def take(self) -> T:
        """An idle one. Raises IndexError where there is none."""
        return self._idle.pop()

    async def wait(self, caller: str, request: str, cost: float) -> T:
        """One thing, once it is this request's turn; the user gives it, or another one, back by `put`."""
        if self._idle:
            return self._idle.pop()
        mine: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.push(caller, request, mine, cost)
        try:
            return await mine
        except asyncio.CancelledError:
            self._queue.discard(caller, request, mine)
            if mine.done() and not mine.cancelled():
                self.put(mine.result())
            raise
        finally:
            self._queue.forget(caller, request)
