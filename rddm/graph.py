"""The exported graph: the names and shapes of its inputs and outputs, its feeds, and what both must look like.

Inputs `x_t` (b 3 h w), `condition` (b c h w: what the spec lists, concatenated; absent where it lists nothing) and `time` (b 2);
outputs `out_0`[, `out_1`] (b 3 h w), unclipped, one for each head of the objective. All are float32; h and w are multiples of the
spec's size multiple. Arrays are NumPy or torch.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rddm.objective import HEADS
from rddm.spec import ModelSpec

Array = Any
Feeds = Mapping[str, Array]
GraphCall = Callable[[Feeds], Sequence[Array]]

FILE = "model.onnx"
SPEC_KEY = "rddm.spec"  # of the file's metadata
X_T, CONDITION, TIME = "x_t", "condition", "time"
OUTPUTS = ("out_0", "out_1")
BATCH_SIZES = (1, 2, 4, 8, 16)  # what is warmed up, built and measured; a batch of another size is filled up to the next one


def input_dims(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Names and dimensions of the inputs, without the batch; -1 is any multiple of the spec's size multiple."""
    dims = {X_T: (3, -1, -1), CONDITION: (spec.condition_channels, -1, -1), TIME: (2,)}
    if not spec.condition_channels:
        del dims[CONDITION]
    return dims


def input_shapes(spec: ModelSpec, batch: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the inputs for `batch` rows of height x width pixels."""
    return {name: (batch, dims[0], height, width) if -1 in dims else (batch, *dims) for name, dims in input_dims(spec).items()}


def output_names(spec: ModelSpec) -> list[str]:
    """Names of the outputs, in the order of the objective's heads."""
    return list(OUTPUTS[: len(HEADS[spec.objective])])


def to_feeds(x_t: Array, condition: Array | None, time: Array) -> Feeds:
    """The inputs by name."""
    feeds = {X_T: x_t, TIME: time}
    return feeds if condition is None else {**feeds, CONDITION: condition}


def check_feeds(spec: ModelSpec, feeds: Feeds) -> None:
    """Raises ValueError for feeds that the graph does not take: their names, shapes or sizes."""
    batch, _, height, width = feeds[X_T].shape
    expected = input_shapes(spec, batch, height, width)
    if feeds.keys() != expected.keys():
        raise ValueError(f"model {spec.name!r} takes {sorted(expected)}, got {sorted(feeds)}")
    for name, shape in expected.items():
        if tuple(feeds[name].shape) != shape:
            raise ValueError(f"{name} of model {spec.name!r} has shape {tuple(feeds[name].shape)}; expected {shape}")
    if height % spec.size_multiple or width % spec.size_multiple:
        raise ValueError(f"model {spec.name!r} takes sides that are multiples of {spec.size_multiple}, got {height} x {width}")


def check_outputs(spec: ModelSpec, outputs: Sequence[Array], x_t: Array) -> None:
    """One array of x_t's shape for each head of the objective. Raises ValueError naming what came instead."""
    names = output_names(spec)
    if len(outputs) != len(names):
        raise ValueError(f"model {spec.name!r} gave {len(outputs)} outputs; expected {len(names)}")
    for name, output in zip(names, outputs, strict=True):
        if tuple(output.shape) != tuple(x_t.shape):
            raise ValueError(f"{name} of model {spec.name!r} has shape {tuple(output.shape)}; expected {tuple(x_t.shape)}")


def check_finite(spec: ModelSpec, outputs: Sequence[Array]) -> None:
    """Raises ValueError where an output, a NumPy array, holds NaN or infinity."""
    for name, output in zip(output_names(spec), outputs, strict=True):
        if not np.isfinite(output).all():
            raise ValueError(f"{name} of model {spec.name!r} holds values that are not finite")
