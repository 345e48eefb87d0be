"""Rows of several callers as one call: items, how they are joined and filled up, and how the answer is parted again."""

import asyncio
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from service.engines.arrays import Arrays
from service.engines.contract import Inputs, Outputs, Ticket
from service.scheduling.costs import Shape, pixels

Array = Any


@dataclass(eq=False)
class RequestState:
    """One request, while it is admitted or asks.

    tiles: that it asks for in a step. pictures: that are admitted. remaining: megapixel-steps. asking: items without an answer.
    """

    caller: str
    name: str
    tiles: int = 1
    pictures: int = 0
    remaining: float = 0.0
    asking: int = 0


@dataclass(eq=False)
class QueuedRows:
    """Rows that one task waits for. shape: what the rows of a batch have in common. tries: calls that they were part of;

    isolated: to be called without others.
    """

    inputs: Inputs
    ticket: Ticket
    request: RequestState
    shape: Shape
    answer: "asyncio.Future[Outputs]"
    asked: float
    tries: int = 0
    isolated: bool = False
    batch: "Batch | None" = None

    def __post_init__(self) -> None:
        self.rows = int(self.inputs[0].shape[0])

    @property
    def megapixels(self) -> float:
        return self.rows * pixels(self.shape) / 1e6

    def fail(self, error: Exception) -> None:
        """Gives the error to the task that waits, unless it has left."""
        if not self.answer.done():
            self.answer.set_exception(error)


def shape_of(x_t: Array, ticket: Ticket) -> Shape:
    """Weights, height and width."""
    return ticket.weights, int(x_t.shape[2]), int(x_t.shape[3])


@dataclass(eq=False)
class Batch:
    """Items that are one call, and the task that makes it. exclusive: whether it is given the whole engine."""

    items: list[QueuedRows]
    exclusive: bool = False
    task: "asyncio.Task[None] | None" = field(default=None, repr=False)

    @property
    def rows(self) -> int:
        return sum(item.rows for item in self.items)

    @property
    def shape(self) -> Shape:
        return self.items[0].shape

    def ticket(self, on_start: Callable[[], None]) -> Ticket:
        """The ticket of a single item; of several, one with the last of their deadlines, or none if one has none."""
        tickets = [item.ticket for item in self.items]
        if len(tickets) == 1:
            return replace(tickets[0], exclusive=self.exclusive, on_start=on_start)
        requests = "+".join(dict.fromkeys(ticket.request for ticket in tickets))
        latest = max(math.inf if ticket.deadline is None else ticket.deadline for ticket in tickets)
        return Ticket(tickets[0].weights, requests, "scheduler", None if latest == math.inf else latest, on_start=on_start)

    def join(self, arrays: Arrays, rows: int) -> Inputs:
        """x_t, condition and time of all items, filled up to so many rows with copies of the last."""
        x_t, condition, times = (fill(arrays, part, rows) for part in zip(*(item.inputs for item in self.items), strict=True))
        return x_t, condition, times

    def split(self, outputs: Outputs) -> list[Outputs]:
        """Each item's own rows of the outputs."""
        ends = itertools.accumulate(item.rows for item in self.items)
        return [tuple(out[end - item.rows : end] for out in outputs) for item, end in zip(self.items, ends, strict=True)]


def fill(arrays: Arrays, parts: Sequence[Array | None], rows: int) -> Array | None:
    """The parts one after the other, and copies of the last row up to so many rows; None where there is nothing."""
    present = [part for part in parts if part is not None]
    if not present:
        return None
    missing = rows - sum(part.shape[0] for part in present)
    return arrays.concatenate([*present, *[present[-1][-1:]] * missing], 0) if missing > 0 or len(present) > 1 else present[0]
