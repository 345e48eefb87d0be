"""What is next: start-time fair queueing on two levels, callers first, then each caller's requests.

Each caller, and within it each request, has a virtual time, which grows by what its items cost. The one furthest behind
is next, so that a caller with a hundred requests gets no more than a caller with one, and a caller's small picture does not
wait behind its large one. A caller that comes back after a pause starts at the present: idleness earns no credit.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class _Request(Generic[T]):
    tag: float
    items: deque[tuple[T, float]] = field(default_factory=deque)


@dataclass(eq=False)
class _Caller(Generic[T]):
    tag: float
    virtual: float = 0.0
    requests: dict[str, _Request[T]] = field(default_factory=dict)

    @property
    def waiting(self) -> list[_Request[T]]:
        """Requests with items."""
        return [request for request in self.requests.values() if request.items]


class FairQueue(Generic[T]):
    """Items wait by caller and request; `take` gives the next in fair order. The length is the number of items."""

    def __init__(self) -> None:
        self._callers: dict[str, _Caller[T]] = {}
        self._virtual = 0.0

    def __len__(self) -> int:
        return sum(1 for _ in self.items())

    @property
    def callers(self) -> int:
        """Callers that are remembered."""
        return len(self._callers)

    def push(self, caller: str, request: str, item: T, cost: float, *, first: bool = False) -> None:
        """Adds an item; cost is what its caller's and request's virtual times grow by when it is taken.

        first: before the other items of its request, as one is that was taken and paid for, but not served.
        """
        of_caller = self._callers.setdefault(caller, _Caller(self._virtual))
        if not of_caller.waiting:
            of_caller.tag = max(of_caller.tag, self._virtual)
        of_request = of_caller.requests.setdefault(request, _Request(of_caller.virtual))
        if not of_request.items:
            of_request.tag = max(of_request.tag, of_caller.virtual)
        add = of_request.items.appendleft if first else of_request.items.append
        add((item, cost))

    def items(self) -> Iterator[T]:
        """Every waiting item, in no particular order."""
        for caller in self._callers.values():
            for request in caller.requests.values():
                yield from (item for item, _ in request.items)

    def take(self, accept: Callable[[T], bool] = lambda _: True) -> T | None:
        """The next item that is at the head of its request and acceptable; its caller and request are charged."""
        heads = ((caller, request) for caller in self._callers.values() for request in caller.waiting)
        in_order = sorted(heads, key=lambda head: (head[0].tag, head[1].tag))
        first = next((head for head in in_order if accept(head[1].items[0][0])), None)
        if first is None:
            return None
        caller, request = first
        item, cost = request.items.popleft()
        self._virtual = max(self._virtual, caller.tag)
        caller.virtual = max(caller.virtual, request.tag)
        caller.tag += cost
        request.tag += cost
        return item

    def discard(self, caller: str, request: str, item: T) -> None:
        """Takes an item out of turn, if it still waits; no request is charged."""
        if caller in self._callers and request in self._callers[caller].requests:
            of_request = self._callers[caller].requests[request]
            of_request.items = deque(entry for entry in of_request.items if entry[0] is not item)

    def forget(self, caller: str, request: str) -> None:
        """Ends a request that has no items left; a caller is remembered until the others have caught up with it."""
        requests = self._callers[caller].requests if caller in self._callers else {}
        if request in requests and not requests[request].items:
            del requests[request]
        now = self._virtual if any(other.requests for other in self._callers.values()) else math.inf
        self._callers = {name: other for name, other in self._callers.items() if other.requests or other.tag > now}
