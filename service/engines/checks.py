"""What may be believed of an engine's answer: right shapes, finite values, and the golden answer to the golden input."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rddm.model import Model, golden_input
from rddm.objective import HEADS
from service.engines.contract import Engine, Feeds, Ticket
from service.errors import BadAnswer, EngineUnavailable, InvalidValue


def check_feeds(feeds: Feeds, model: Model) -> None:
    """What is asked must fit the graph: one caller's wrong shape shall not look like a server's fault. Raises InvalidValue."""
    spec = model.spec
    batch, _, height, width = feeds["x_t"].shape
    expected = {"x_t": (batch, 3, height, width), "condition": (batch, spec.condition_channels, height, width), "time": (batch, 2)}
    if not spec.condition_channels:
        del expected["condition"]
    if feeds.keys() != expected.keys():
        raise InvalidValue(f"model {spec.name!r} takes {sorted(expected)}, got {sorted(feeds)}")
    for name, shape in expected.items():
        if tuple(feeds[name].shape) != shape:
            raise InvalidValue(f"{name} of model {spec.name!r} has shape {tuple(feeds[name].shape)}; expected {shape}")
    if height % spec.size_multiple or width % spec.size_multiple:
        raise InvalidValue(f"model {spec.name!r} takes sides that are multiples of {spec.size_multiple}, got {height} x {width}")


def check_outputs(outputs: Sequence[Any], x_t: Any, model: Model) -> None:
    """One array of x_t's shape per head of the objective. Raises BadAnswer naming what came instead."""
    expected = len(HEADS[model.spec.objective])
    if len(outputs) != expected:
        raise BadAnswer(f"model {model.spec.name!r} gave {len(outputs)} outputs; expected {expected}")
    for index, output in enumerate(outputs):
        if tuple(output.shape) != tuple(x_t.shape):
            raise BadAnswer(
                f"out_{index} of model {model.spec.name!r} has shape {tuple(output.shape)}; expected {tuple(x_t.shape)}"
            )


def check_finite(outputs: Sequence[Any], model: Model) -> None:
    """Raises BadAnswer where a host array holds NaN or infinity."""
    for index, output in enumerate(outputs):
        if not np.isfinite(output).all():
            raise BadAnswer(f"out_{index} of model {model.spec.name!r} holds values that are not finite")


async def check_golden(engine: Engine, model: Model, deadline: float | None = None) -> None:
    """Ask for the golden answer. Raises EngineUnavailable with the deviation and what is allowed; else the engine's own errors."""
    given = golden_input(model.spec)
    ticket = Ticket(model.weights, "golden", "readiness", deadline)
    outputs = await engine.predict(given["x_t"], given.get("condition"), given["time"], ticket)
    answer = outputs[0] if isinstance(outputs[0], np.ndarray) else outputs[0].cpu().numpy()  # the one tensor that may be asked for
    deviation = model.golden.deviation(answer)
    if not deviation <= model.golden.tolerance:
        raise EngineUnavailable(
            f"version {model.version} of model {model.spec.name!r} is {deviation:.2g} away from its golden answer; "
            f"at most {model.golden.tolerance:.2g} is allowed"
        )
