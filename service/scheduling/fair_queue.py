"""What is next: start-time fair queueing on two levels, callers first, then each caller's requests.

Each caller, and within it each request, has a virtual time, which grows by what its items cost. The one furthest behind
is next, so that a caller with a hundred requests gets no more than a caller with one, and a caller's small picture does not
wait behind its large one. A caller that comes back after a pause starts at the present: idleness earns no credit.
"""

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

    def heads(self) -> Iterator[tuple[float, _Request[T]]]:
        return ((request.tag, request) for request in self.requests.values() if request.items)


class FairQueue(Generic[T]):
    """Items wait by caller and request; `take` gives the next in fair order. The length is the number of items."""

    def __init__(self) -> None:
        self._callers: dict[str, _Caller[T]] = {}
        self._virtual = 0.0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def callers(self) -> int:
        """Callers that are remembered."""
        return len(self._callers)

    def push(self, caller: str, request: str, item: T, cost: float) -> None:
        """Adds an item; cost is what its caller's and request's virtual times grow by when it is taken."""
        of_caller = self._callers.setdefault(caller, _Caller(self._virtual))
        if not any(other.items for other in of_caller.requests.values()):
            of_caller.tag = max(of_caller.tag, self._virtual)
        of_request = of_caller.requests.setdefault(request, _Request(of_caller.virtual))
        if not of_request.items:
            of_request.tag = max(of_request.tag, of_caller.virtual)
        of_request.items.append((item, cost))
        self._length += 1

    def put_back(self, caller: str, request: str, item: T, _cost: float) -> None:
        """An item that was taken and paid for, but not served, is its request's next."""
        self.push(caller, request, item, 0.0)
        self._callers[caller].requests[request].items.rotate(1)

    def head(self, accept: Callable[[T], bool] = lambda _: True) -> T | None:
        """The next acceptable item at the head of its request, in fair order; it stays in the queue."""
        first = self._first(accept)
        return None if first is None else first[1].items[0][0]

    def items(self) -> Iterator[T]:
        """Every waiting item, in no particular order."""
        for caller in self._callers.values():
            for request in caller.requests.values():
                yield from (item for item, _ in request.items)

    def take(self, accept: Callable[[T], bool]) -> T | None:
        """The next item that is at the head of its request and acceptable; its caller and request are charged."""
        first = self._first(accept)
        if first is None:
            return None
        chosen_caller, chosen = first
        item, cost = chosen.items.popleft()
        self._length -= 1
        self._virtual = max(self._virtual, chosen_caller.tag)
        chosen_caller.virtual = max(chosen_caller.virtual, chosen.tag)
        chosen_caller.tag += cost
        chosen.tag += cost
        return item

    def _first(self, accept: Callable[[T], bool]) -> "tuple[_Caller[T], _Request[T]] | None":
        best: tuple[float, float] | None = None
        first: tuple[_Caller[T], _Request[T]] | None = None
        for caller in self._callers.values():
            for tag, request in caller.heads():
                if (best is None or (caller.tag, tag) < best) and accept(request.items[0][0]):
                    best, first = (caller.tag, tag), (caller, request)
        return first

    def discard(self, caller: str, request: str, item: T) -> bool:
        """Takes an item out of turn; no request is charged. Whether it still waited."""
        of_request = self._callers[caller].requests[request] if self._knows(caller, request) else None
        if of_request is None:
            return False
        kept = deque(entry for entry in of_request.items if entry[0] is not item)
        removed = len(of_request.items) - len(kept)
        of_request.items = kept
        self._length -= removed
        return removed > 0

    def forget(self, caller: str, request: str) -> None:
        """Ends a request that has no items left; a caller is remembered until the others have caught up with it."""
        if self._knows(caller, request) and not self._callers[caller].requests[request].items:
            del self._callers[caller].requests[request]
        idle = not any(other.requests for other in self._callers.values())
        self._callers = {
            name: other for name, other in self._callers.items() if other.requests or not (idle or other.tag <= self._virtual)
        }

    def _knows(self, caller: str, request: str) -> bool:
        return caller in self._callers and request in self._callers[caller].requests
