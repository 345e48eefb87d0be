"""What may be believed of an engine's answer: right shapes, finite values, and the golden answer to the golden input."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from rddm import graph
from rddm.model import Model, golden_input
from service.engines.contract import Engine, Feeds, Ticket
from service.errors import BadAnswer, EngineUnavailable, InvalidValue, ServiceError


def check_feeds(feeds: Feeds, model: Model) -> None:
    """What is asked must fit the graph: one caller's wrong shape shall not look like a server's fault. Raises InvalidValue."""
    with raised_as(InvalidValue):
        graph.check_feeds(model.spec, feeds)


def check_outputs(outputs: Sequence[Any], x_t: Any, model: Model) -> None:
    """One array of x_t's shape per head of the objective. Raises BadAnswer naming what came instead."""
    with raised_as(BadAnswer):
        graph.check_outputs(model.spec, outputs, x_t)


def check_finite(outputs: Sequence[Any], model: Model) -> None:
    """Raises BadAnswer where a host array holds NaN or infinity."""
    with raised_as(BadAnswer):
        graph.check_finite(model.spec, outputs)


@contextmanager
def raised_as(kind: type[ServiceError]) -> Iterator[None]:
    """A ValueError of the graph's checks as the service's own error."""
    try:
        yield
    except ValueError as error:
        raise kind(str(error)) from error


async def check_golden(engine: Engine, model: Model, deadline: float | None = None) -> None:
    """Ask for the golden answer. Raises EngineUnavailable with the deviation and what is allowed; else the engine's own errors."""
    given = golden_input(model.spec)
    ticket = Ticket(model.weights, "golden", "readiness", deadline)
    outputs = await engine.predict(given[graph.X_T], given.get(graph.CONDITION), given[graph.TIME], ticket)
    answer = outputs[0] if isinstance(outputs[0], np.ndarray) else outputs[0].cpu().numpy()  # the one tensor that may be asked for
    deviation = model.golden.deviation(answer)
    if not deviation <= model.golden.tolerance:
        raise EngineUnavailable(
            f"version {model.version} of model {model.spec.name!r} is {deviation:.2g} away from its golden answer; "
            f"at most {model.golden.tolerance:.2g} is allowed"
        )
