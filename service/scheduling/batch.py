"""Rows of several callers as one call: items, how they are joined and filled up, and how the answer is parted again."""

import asyncio
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext

from service.engines.arrays import Arrays
from service.engines.contract import LARGE_PIXELS, Inputs, Outputs, Ticket
from service.scheduling.costs import Shape, pixels

Array = Any


@dataclass(eq=False)
class RequestState:
    """One request, while it is admitted or asks.

    tiles: that it asks for in a step. remaining: megapixel-steps.
    """

    ticket: Ticket
    weight: float
    tiles: int = 1
    pictures: int = 0
    remaining: float = 0.0
    waiting: int = 0
    running: int = 0


@dataclass(eq=False)
class QueuedRows:
    """Rows that one task waits for. shape: what the rows of a batch have in common. tries: calls that they were part of;

    isolated: to be called without others. span: that the task works in.
    """

    inputs: Inputs
    ticket: Ticket
    request: RequestState
    shape: Shape
    answer: "asyncio.Future[Outputs]"
    asked: float
    span: SpanContext = INVALID_SPAN_CONTEXT
    tries: int = 0
    isolated: bool = False
    batch: "Batch | None" = None

    def __post_init__(self) -> None:
        self.rows = int(self.inputs[0].shape[0])

    @property
    def megapixels(self) -> float:
        return self.rows * pixels(self.shape) / 1e6


def shape_of(x_t: Array, ticket: Ticket) -> Shape:
    """Weights, height and width."""
    return ticket.weights, int(x_t.shape[2]), int(x_t.shape[3])


def is_large(shape: Shape) -> bool:
    """Whether a call of rows of this shape needs a place of the large ones."""
    return pixels(shape) > LARGE_PIXELS


@dataclass(eq=False)
class CallClock:
    """When a call started; it holds nothing of the batch, since engines may keep tickets."""

    started: float | None = None

    def start(self) -> None:
        """The engine begins."""
        self.started = monotonic()


@dataclass(eq=False)
class Batch:
    """Items that are one call, the task that makes it, and those that are to be tried again.

    exclusive: whether nothing else was admitted when it went out, and nothing of its own request can follow before it is done.
    is_behind: whether it went out while every instance had a call. clock: knows when the engine began, if it says so.
    """

    items: list[QueuedRows]
    exclusive: bool = False
    is_behind: bool = False
    clock: CallClock = field(default_factory=CallClock)
    task: "asyncio.Task[None] | None" = field(default=None, repr=False)
    retry: list[QueuedRows] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(item.rows for item in self.items)

    @property
    def shape(self) -> Shape:
        return self.items[0].shape

    @property
    def ticket(self) -> Ticket:
        """The ticket of a single item; of several, one with the last of their deadlines, or none if one has none."""
        first = self.items[0].ticket
        if len(self.items) == 1:
            return replace(first, exclusive=self.exclusive, on_start=self.clock.start)
        requests = "+".join(dict.fromkeys(item.ticket.request for item in self.items))
        deadlines = [math.inf if item.ticket.deadline is None else item.ticket.deadline for item in self.items]
        latest = None if math.inf in deadlines else max(deadlines)
        return Ticket(first.weights, requests, "scheduler", latest, on_start=self.clock.start)

    def join(self, arrays: Arrays, rows: int) -> Inputs:
        """x_t, condition and time of all items, filled up to so many rows with copies of the last."""
        if len(self.items) == 1 and rows == self.rows:
            return self.items[0].inputs
        x_t, condition, times = (fill(arrays, part, rows) for part in zip(*(item.inputs for item in self.items), strict=True))
        return x_t, condition, times

    def split(self, outputs: Outputs) -> list[Outputs]:
        """Each item's own rows of the outputs."""
        if len(self.items) == 1 and outputs[0].shape[0] == self.rows:
            return [outputs]
        ends = itertools.accumulate(item.rows for item in self.items)
        return [tuple(out[end - item.rows : end] for out in outputs) for item, end in zip(self.items, ends, strict=True)]


def fill(arrays: Arrays, parts: Sequence[Array | None], rows: int) -> Array | None:
    """The parts one after the other, and copies of the last row up to so many rows; None where there is nothing."""
    present = [part for part in parts if part is not None]
    if not present:
        return None
    missing = rows - sum(part.shape[0] for part in present)
    return arrays.concatenate([*present, *[present[-1][-1:]] * missing], 0) if missing or len(present) > 1 else present[0]
