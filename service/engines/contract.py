"""What every engine is: one asynchronous method, rows in = rows out; and what the gateway knows of a model."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from rddm.graph import Feeds, to_feeds
from rddm.model import Golden, Model, Weights

__all__ = [
    "FILLED_ROWS",
    "LARGE_PIXELS",
    "WIDE_PIXELS",
    "Array",
    "Choose",
    "Engine",
    "Feeds",
    "Golden",
    "Inputs",
    "Model",
    "Outputs",
    "Repository",
    "ServingEngine",
    "Ticket",
    "Weights",
    "to_feeds",
]

Array = Any  # NumPy, or torch where the sampler state lives on a GPU: the same kind goes in and comes out
Inputs = tuple[Array, Array | None, Array]  # x_t, condition, time
Outputs = tuple[Array, ...]
Choose = Callable[[Mapping[str, Model]], Sequence[str]]  # the models there are, by name -> those needed; may raise NotFound

FILLED_ROWS = 4  # see ServingEngine.filled_rows; fixed, since seconds vary from start to start, and bytes must not
WIDE_PIXELS = 36_000  # smaller calls gain little from more threads: waking them takes much of what they save
LARGE_PIXELS = 640 * 640  # calls with rows of more have places of their own, so that no smaller one waits for them


@dataclass(frozen=True)
class Ticket:
    """Caller, request and weights of a call. A merged batch has a ticket of its own.

    deadline: seconds on the clock of `time.monotonic`, or None. exclusive: whether no other request wants the engine, so that
    this one call, of WIDE_PIXELS or more, may have all of it. on_start: called, in any thread, when the engine begins to
    compute; an engine that does not know need not call it. tiled: whether the rows are tiles, so that others with the same time
    and picture are asked for too.
    """

    weights: Weights
    request: str
    caller: str
    deadline: float | None = None
    exclusive: bool = False
    on_start: Callable[[], None] | None = field(default=None, compare=False)
    tiled: bool = False


class Engine(Protocol):
    """Evaluates the bare network. Cancelling the awaiting task cancels the work."""

    @abstractmethod
    async def predict(self, x_t: Array, condition: Array | None, time: Array, ticket: Ticket) -> Outputs:
        """x_t (b 3 h w), condition (b c h w) or None, time (b 2) float32 -> out_0[, out_1] (b 3 h w), unclipped.

        Raises the errors of `service.errors`: EngineUnavailable, QueueFull, DeadlineExceeded, BadAnswer, UnknownModel.
        """
        ...


class Repository(Protocol):
    """The models that an engine can answer for. A class that derives from it need not say again what has a default here."""

    @abstractmethod
    async def start(self) -> None:
        """Make the models ready. Raises EngineUnavailable where there is nothing to serve."""
        ...

    def restrict(self, choose: "Choose", *, named: Collection[str] = (), one_request: bool = False) -> None:  # noqa: ARG002
        """To be called before `start`: models that `choose` does not name of those there are need not be made ready.

        named: models among which it may find all that it needs; it is asked again with all of them where it raises NotFound.
        one_request: no more than one will come, and there is none beside it.
        """
        return

    @abstractmethod
    async def close(self) -> None:
        """Free everything; calls that run are waited for."""
        ...

    @abstractmethod
    def models(self) -> Mapping[str, Model]:
        """The version that takes new traffic, by name."""
        ...

    @abstractmethod
    def lease(self, name: str) -> AbstractContextManager[Model]:
        """Hold the version that takes new traffic for as long as a request runs: a reload lets go of it only afterwards.

        Raises UnknownModel, with the names there are.
        """
        ...

    @abstractmethod
    async def check(self, name: str) -> None:
        """One golden inference. Raises EngineUnavailable with the reason where no server gives the right answer."""
        ...

    @abstractmethod
    async def load(self, name: str) -> Model:
        """Load the newest version on disk; it takes traffic only once its golden tile is right, the old one serves till then."""
        ...

    @abstractmethod
    async def unload(self, name: str) -> None:
        """No new traffic; freed when the last request has left it. Raises UnknownModel."""
        ...

    @property
    def loaded_at(self) -> Mapping[str, float]:
        """When a model gave the golden answer that it was loaded by: its name, the monotonic clock; none where nobody noted it."""
        return {}

    @property
    def broken(self) -> Mapping[str, str]:
        """Models that get no traffic though they lie there, with the reason; `*` stands for whole servers."""
        return {}


class ServingEngine(Engine, Repository, Protocol):
    """An engine that is also its own repository, which is what the gateway serves with."""

    @property
    def instances(self) -> int:
        """Calls that are worth having under way at once."""
        return 1

    @property
    def filled_rows(self) -> int:
        """Rows that every batch is filled up to of a model whose rows' bytes depend on their number; 1: it gets single rows.

        Where a device computes some rows in little more time than one, FILLED_ROWS.
        """
        return 1

    @property
    def identity(self) -> str:
        """What computes: name, version, threads. What was learnt of another one does not count."""
        return type(self).__name__

    @property
    def events(self) -> Mapping[str, int]:
        """Counts for the metrics: steps that were `retried` or `lost`."""
        return {}
