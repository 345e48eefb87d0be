"""Rows of several callers as one call: items, how they are joined and filled up, and how the answer is parted again."""

import asyncio
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

from service.engines.arrays import Arrays
from service.engines.contract import Conversation, Inputs, Outputs, Ticket
from service.scheduling.costs import Shape, pixels

Array = Any


@dataclass(eq=False)
class Flow:
    """One request, while it is admitted or asks.

    heard: when it last asked, was answered or was admitted. tiles: that it asks for in a step; asked: so far, in all steps.
    remaining: megapixel-steps.
    """

    ticket: Ticket
    shape: Shape
    weight: float
    heard: float
    tiles: int = 1
    pictures: int = 0
    remaining: float = 0.0
    waiting: int = 0
    running: int = 0
    asked: int = 0

    @property
    def will_ask(self) -> bool:
        """Whether it is between two steps, or has not yet asked for all tiles of this one."""
        return self.pictures > 0 and (not (self.waiting or self.running) or self.asked % self.tiles != 0)


@dataclass(eq=False)
class Item:
    """Rows that one task waits for. shape: what the rows of a batch have in common. tries: calls that they were part of;

    lone: to be called without others. conversation: what they are of, if the engine may go on with it: the answer is then empty.
    """

    inputs: Inputs
    ticket: Ticket
    flow: Flow
    shape: Shape
    answer: "asyncio.Future[Outputs]"
    asked: float
    conversation: Conversation | None = None
    tries: int = 0
    lone: bool = False
    batch: "Batch | None" = None

    def __post_init__(self) -> None:
        self.rows = int(self.inputs[0].shape[0])

    @property
    def megapixels(self) -> float:
        return self.rows * pixels(self.shape) / 1e6


def shape_of(x_t: Array, ticket: Ticket) -> Shape:
    """Weights, height and width."""
    return ticket.weights, int(x_t.shape[2]), int(x_t.shape[3])


@dataclass(eq=False)
class Batch:
    """Items that are one call, the task that makes it, and those that are to be called again.

    alone: whether nothing else was admitted when it went out, and nothing of its own request can follow before it is done.
    """

    items: list[Item]
    alone: bool = False
    task: "asyncio.Task[None] | None" = field(default=None, repr=False)
    again: list[Item] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(item.rows for item in self.items)

    @property
    def shape(self) -> Shape:
        return self.items[0].shape

    @property
    def ticket(self) -> Ticket:
        """The ticket of a lone item; of several, one with the last of their deadlines, or none if one has none."""
        first = self.items[0].ticket
        if len(self.items) == 1:
            return replace(first, alone=True) if self.alone else first
        requests = "+".join(dict.fromkeys(item.ticket.request for item in self.items))
        deadlines = [math.inf if item.ticket.deadline is None else item.ticket.deadline for item in self.items]
        latest = None if math.inf in deadlines else max(deadlines)
        return Ticket(first.weights, requests, "scheduler", latest)

    def joined(self, arrays: Arrays, rows: int) -> Inputs:
        """x_t, condition and time of all items, filled up to so many rows with copies of the last."""
        if len(self.items) == 1 and rows == self.rows:
            return self.items[0].inputs
        x_t, condition, times = (filled(arrays, part, rows) for part in zip(*(item.inputs for item in self.items), strict=True))
        return x_t, condition, times

    def parted(self, outputs: Outputs) -> list[Outputs]:
        """Each item's own rows of the outputs."""
        if len(self.items) == 1 and outputs[0].shape[0] == self.rows:
            return [outputs]
        ends = itertools.accumulate(item.rows for item in self.items)
        return [tuple(out[end - item.rows : end] for out in outputs) for item, end in zip(self.items, ends, strict=True)]


def filled(arrays: Arrays, parts: Sequence[Array | None], rows: int) -> Array | None:
    """The parts one after the other, and copies of the last row up to so many rows; None where there is nothing."""
    present = [part for part in parts if part is not None]
    if not present:
        return None
    missing = rows - sum(part.shape[0] for part in present)
    return arrays.concatenate([*present, *[present[-1][-1:]] * missing], 0) if missing or len(present) > 1 else present[0]


@dataclass(eq=False)
class Talk:
    """An item's conversation, as the engine has it: it ends after a step where `goes_on` denies another, and its calls are timed.

    goes_on: whether it may after so many calls; asked in whatever thread the engine uses. calls: begin and end of each, by
    time.monotonic. freed: when the engine was done with the last of them.
    """

    item: Item
    conversation: Conversation
    goes_on: Callable[[int], bool]
    began: float = field(default_factory=monotonic)
    calls: list[tuple[float, float]] = field(default_factory=list)
    freed: float = -math.inf

    def __post_init__(self) -> None:
        self.inputs: Inputs | None = self.item.inputs

    def follow(self, outputs: Outputs) -> None:
        """See service.engines.contract.Conversation."""
        self._called()
        self.conversation.follow(outputs)
        self._followed()
        self.freed = self.began

    async def follow_beside(self, outputs: Outputs) -> None:
        """See service.engines.contract.Conversation."""
        self._called()
        await self.conversation.follow_beside(outputs)
        self._followed()

    def _called(self) -> None:
        self.freed = monotonic()
        self.calls.append((self.began, self.freed))

    def _followed(self) -> None:
        """What is tried again after an error is the step that was not answered."""
        following = self.conversation.inputs
        self.inputs = following if self.goes_on(len(self.calls)) else None
        if following is not None:
            self.item.inputs = following
        self.began = monotonic()
