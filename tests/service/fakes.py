"""Engines that need no network: a cheap function of the rows, with the time a real one would take."""

import asyncio
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rddm.spec import ModelSpec
from service.engines.contract import Golden, Model, Ticket
from service.errors import DeadlineExceeded, OutOfMemory


def model_of(**facts: Any) -> Model:
    """A small restorer for calls of up to 64x64; facts are fields of its spec."""
    usual = {
        "name": "fake",
        "task": "fake",
        "licence": "Apache-2.0",
        "condition": ("image", "context"),
        "reach": 16,
        "most_pixels": 64 * 64,
        "default_steps": 3,
    }
    return Model(ModelSpec(**(usual | facts)), 1, "0" * 64, Golden(np.zeros((1, 3, 32, 32), np.float32), 1e-5))


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Smooth noise in [-1, 1]."""
    draw = np.random.default_rng(seed)
    coarse = draw.uniform(-1, 1, (1, 3, height // 8 + 2, width // 8 + 2))
    rows, columns = np.linspace(0, height // 8 + 0.99, height), np.linspace(0, width // 8 + 0.99, width)
    y, x = rows.astype(int), columns.astype(int)
    fine = (1 - rows % 1)[:, None] * coarse[:, :, y][:, :, :, x] + (rows % 1)[:, None] * coarse[:, :, y + 1][:, :, :, x]
    return np.ascontiguousarray(fine, dtype=np.float32)


@dataclass(eq=False)
class FakeEngine:
    """out_0 = a pointwise function of x_t, condition and time. Seconds of a call: `fixed` + `each` per row, `instances` at a time.

    memory: rows over which a call is OutOfMemory. coupled: rows of a batch change one another's last bits, as on some devices.
    """

    fixed: float = 0.0
    each: float = 0.0
    instances: int = 1
    memory: int = 1000
    coupled: bool = False
    outputs: int = 1
    calls: list[tuple[int, Ticket]] = field(default_factory=list)
    cancelled: int = 0

    def __post_init__(self) -> None:
        self._free = asyncio.Semaphore(self.instances)

    async def predict(self, x_t: Any, condition: Any, time: Any, ticket: Ticket) -> tuple[Any, ...]:
        self.calls.append((x_t.shape[0], ticket))
        if ticket.deadline is not None and ticket.deadline <= monotonic():
            raise DeadlineExceeded("the deadline passed before the network was called")
        if x_t.shape[0] > self.memory:
            raise OutOfMemory("no room")
        try:
            async with self._free:
                if ticket.on_start is not None:
                    ticket.on_start()
                await asyncio.sleep(self.fixed + self.each * x_t.shape[0])
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return tuple(self.answer(x_t, condition, time, k) for k in range(self.outputs))

    def answer(self, x_t: Any, condition: Any, time: Any, k: int) -> Any:
        level = time[:, :1, None, None] / np.float32(1000)
        answer = np.float32(0.3 + 0.1 * k) * x_t + np.float32(0.1) * level
        if condition is not None:
            answer = answer + np.float32(0.2) * condition[:, :3] - np.float32(0.1) * condition[:, -3:].mean((2, 3), keepdims=True)
        return answer * np.float32(1 + 1e-6 * x_t.shape[0]) if self.coupled else answer
