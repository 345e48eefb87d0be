"""A fake engine that is its own repository: the network is a formula, and its faults are switched on by the test."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from rddm.model import Golden, Model
from rddm.spec import ModelSpec
from service.engines.contract import ServingEngine, Ticket
from service.errors import EngineUnavailable, UnknownModel

RESTORER = ModelSpec(
    name="lowlight", task="lowlight", licence="Apache-2.0", default_steps=2, max_steps=10, most_pixels=128 * 128, reach=16
)
KEEPER = RESTORER.model_copy(update={"name": "keeper", "task": "nothing"})
MASKED = RESTORER.model_copy(update={"name": "unshadow", "task": "shadow", "condition": ("image", "mask")})
GENERATOR = ModelSpec(
    name="emoji",
    task="emoji",
    licence="Apache-2.0",
    start="noise",
    condition=(),
    objective="pred_res_noise",
    image_size=(32, 32),
    default_steps=3,
    max_steps=10,
    residual_clip=1.0,
)


def model(spec: ModelSpec) -> Model:
    return Model(spec, 1, "0" * 63 + str(len(spec.name) % 10), Golden(np.zeros((1, 3, 32, 32), np.float32), 1e-3))


@dataclass(eq=False)
class FakeServingEngine(ServingEngine):
    """lowlight takes 0.5 off the residual (x_0 is brighter than x_in by half); keeper changes nothing."""

    seconds: float = 0.0
    fault: Exception | None = None
    calls: int = 0
    instances: int = 1
    broken: ClassVar[dict[str, str]] = {}  # a test may set its own
    gate: asyncio.Event | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    loaded: dict[str, Model] = field(
        default_factory=lambda: {spec.name: model(spec) for spec in (RESTORER, KEEPER, MASKED, GENERATOR)}
    )

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def models(self) -> Mapping[str, Model]:
        return dict(self.loaded)

    @contextmanager
    def lease(self, name: str) -> Iterator[Model]:
        if name not in self.loaded:
            raise UnknownModel(f"unknown model {name!r}; expected one of {sorted(self.loaded)}")
        yield self.loaded[name]

    async def check(self, name: str) -> None:
        if self.fault is not None:
            raise EngineUnavailable(f"model {name} does not answer")

    async def load(self, name: str) -> Model:
        specs = {spec.name: spec for spec in (RESTORER, KEEPER, MASKED, GENERATOR)}
        if name not in specs:
            raise UnknownModel(f"there is no model {name!r}")
        version = self.loaded[name].version + 1 if name in self.loaded else 1
        self.loaded[name] = replace(model(specs[name]), version=version)
        return self.loaded[name]

    async def unload(self, name: str) -> None:
        del self.loaded[name]

    async def predict(self, x_t: Any, condition: Any, time: Any, ticket: Ticket) -> tuple[Any, ...]:
        self.calls += 1
        if self.gate is not None and ticket.request != "proof":
            self.entered.set()
            await self.gate.wait()
        await asyncio.sleep(0 if ticket.request == "proof" else self.seconds)
        if self.fault is not None and ticket.request != "proof":
            raise self.fault
        if ticket.weights.name == "emoji":
            return (-np.tanh(x_t), x_t * np.float32(0.5))
        return (np.full_like(x_t, -0.5 if ticket.weights.name == "lowlight" else 0.0),)
