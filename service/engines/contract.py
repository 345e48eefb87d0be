"""What every engine is: one asynchronous method, rows in = rows out; and what the gateway knows of a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rddm.spec import ModelSpec

Array = Any  # NumPy, or torch where the sampler state lives on a GPU: the same kind goes in and comes out


@dataclass(frozen=True)
class Ticket:
    """Who asks what of which weights. A merged batch has a ticket of its own.

    deadline: seconds on the clock of `time.monotonic`, or None.
    """

    model: str
    version: int
    request: str
    caller: str
    deadline: float | None = None


class Engine(Protocol):
    """Evaluates the bare network. Cancelling the awaiting task cancels the work."""

    async def predict(self, x_t: Array, condition: Array | None, time: Array, ticket: Ticket) -> tuple[Array, ...]:
        """x_t (b 3 h w), condition (b c h w) or None, time (b 2) float32 -> out_0[, out_1] (b 3 h w), unclipped.

        Raises the errors of `service.errors`: EngineUnavailable, QueueFull, DeadlineExceeded, BadAnswer, UnknownModel.
        """
        ...


@dataclass(frozen=True, eq=False)
class Golden:
    """The answer to the one fixed input of `golden_input`: out_0 for 32x32, and how far from it an engine may be."""

    answer: NDArray[np.float32]
    tolerance: float


@dataclass(frozen=True, eq=False)
class Model:
    """One version of a model as the gateway knows it: the spec, SHA-256 of the model file, and the golden answer."""

    spec: ModelSpec
    version: int
    digest: str
    golden: Golden


class Repository(Protocol):
    """The models that an engine can answer for. `models` maps a name to the version that takes new traffic."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def models(self) -> Mapping[str, Model]: ...

    async def load(self, name: str) -> Model:
        """Load the newest version on disk; it takes traffic only once its golden tile is right, the old one serves till then."""
        ...

    async def unload(self, name: str) -> None: ...
