"""Rows of several callers as one call: how many, how they are joined and filled up, and how the answer is parted again."""

import asyncio
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic

from rddm.graph import BATCH_SIZES
from service.engines.arrays import Arrays
from service.engines.contract import Array, Inputs, Outputs, Ticket
from service.scheduling.costs import Shape, pixels
from service.telemetry.tracing import current_span


@dataclass(frozen=True)
class BatchSizes:
    """Which batches one model is called with: only what was proven to pay and to keep every row's bytes.

    rows: of the largest batch. pixels: of all its rows together, so that batches of larger rows have fewer of them. fills: every
    batch is filled up to that size, since a row's bytes depend on it.
    """

    rows: int
    pixels: float
    fills: bool = False

    def best(self, pixels: int) -> int:
        """Rows of the largest batch of rows of so many pixels."""
        return max((size for size in BATCH_SIZES if size <= self.rows and size * pixels <= self.pixels), default=1)

    def filled(self, rows: int, pixels: int) -> int:
        """How many rows a batch of `rows` is filled up to."""
        return max(rows, self.best(pixels)) if self.fills else rows

    def without(self, rows: int, pixels: int) -> "BatchSizes":
        """A batch of so many rows did not fit into memory: from now on at most half of it."""
        return replace(self, pixels=min(self.pixels, rows * pixels / 2))


SINGLE_ROWS = BatchSizes(1, 1)


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
    """Rows that one task waits for. tries: calls that they were part of; isolated: to be called without others."""

    inputs: Inputs
    ticket: Ticket
    request: RequestState
    tries: int = 0
    isolated: bool = False
    batch: "Batch | None" = None

    def __post_init__(self) -> None:
        rows, _, height, width = self.inputs[0].shape
        self.rows = int(rows)
        self.shape: Shape = (self.ticket.weights, height, width)  # what the rows of a batch have in common
        self.answer: asyncio.Future[Outputs] = asyncio.get_running_loop().create_future()
        self.asked, self.span = monotonic(), current_span()

    @property
    def megapixels(self) -> float:
        return self.rows * pixels(self.shape) / 1e6


@dataclass(eq=False)
class Batch:
    """Items that are one call. exclusive: whether it is given the whole engine."""

    items: list[QueuedRows]
    exclusive: bool = False

    def __post_init__(self) -> None:
        self.rows = sum(item.rows for item in self.items)
        self.shape = self.items[0].shape
        for item in self.items:
            item.batch, item.tries = self, item.tries + 1

    def ticket(self, on_start: Callable[[], None]) -> Ticket:
        """The ticket of a single item; of several, one with the last of their deadlines, or none if one has none."""
        tickets = [item.ticket for item in self.items]
        if len(tickets) == 1:
            return replace(tickets[0], exclusive=self.exclusive, on_start=on_start)
        requests = "+".join(dict.fromkeys(ticket.request for ticket in tickets))
        latest = max(math.inf if ticket.deadline is None else ticket.deadline for ticket in tickets)
        deadline = None if latest == math.inf else latest
        return Ticket(tickets[0].weights, requests, "scheduler", deadline, on_start=on_start, tiled=tickets[0].tiled)

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
