"""A network, exported, compared with torch, and put into the model repository."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from torch import nn

from export.card import to_card
from export.configuration import ONNX, check_exchangeable
from export.graph import Comparison, answered, check_answers, compare, plain, rounded, rounding, served, set_spec, to_onnx
from export.repository import CARD, described, taken, write
from rddm.graph import output_names
from rddm.model import Golden, Model, golden_input
from rddm.spec import ModelSpec

# An engine's golden answer may move by this much (max|a - b| / (1 + max|b|)): half a level of an 8-bit picture, which leaves room
# for another processor's rounding and for TF32, and for nothing that could be seen.
GOLDEN_TOLERANCE = 4e-3
UNSEEN = 2e-3  # weights are stored as fp16 where that moves no answer by more than a quarter of a level

Weights = Literal["auto", "fp16", "fp32"]


@dataclass(frozen=True)
class Release:
    """What was written, and how it compares with torch. rounding: how far storing the weights as fp16 moves the answers."""

    path: Path
    model: Model
    weights: Literal["fp16", "fp32"]
    rounding: float
    comparisons: tuple[Comparison, ...]
    size: int


def release(
    network: nn.Module,
    spec: ModelSpec,
    facts: Mapping[str, Any],
    folder: Path,
    version: int | None = None,
    *,
    replace: bool = False,
    weights: Weights = "auto",
    pictures: Mapping[str, bytes] | None = None,
) -> Release:
    """Export the network, compare it with torch, and write it as `version` (default: one past every version there).

    pictures: files that the card shows, by name; facts["pictures"] maps captions to these names. Raises FileExistsError for a
    version that is there unless `replace`; ValueError where ONNX Runtime and torch disagree, or versions do.
    """
    network, spec = served(network, spec)
    version = check_place(folder, spec, version, replace=replace)
    network = plain(network)
    lowered = rounded(network)
    exact, of_lowered = answered(network, spec), answered(lowered, spec)
    moved = rounding(of_lowered, exact)
    half = weights == "fp16" or (weights == "auto" and moved <= UNSEEN)
    graph = to_onnx(lowered if half else network, spec, half_weights=half)
    comparisons = compare(graph, of_lowered if half else exact, spec)
    parameters = sum(weight.numel() for weight in network.parameters())
    path, model, size = _publish(graph, spec, facts, folder, version, parameters, pictures or {})
    return Release(path, model, "fp16" if half else "fp32", moved, tuple(comparisons), size)


def release_graph(
    graph: onnx.ModelProto,
    spec: ModelSpec,
    facts: Mapping[str, Any],
    folder: Path,
    version: int | None = None,
    *,
    replace: bool = False,
) -> Release:
    """Publish a graph that is the house's already (an imported network of one pass), its weights as they are.

    Raises as `release`, and ValueError for a graph whose answer to three shapes is not finite or has another size.
    """
    version = check_place(folder, spec, version, replace=replace)
    set_spec(graph, spec)
    check_answers(graph, spec)
    parameters = sum(int(np.prod(tensor.dims)) for tensor in graph.graph.initializer)
    path, model, size = _publish(graph, spec, facts, folder, version, parameters, {})
    return Release(path, model, "fp32", 0.0, (), size)


def check_place(folder: Path, spec: ModelSpec, version: int | None, *, replace: bool) -> int:
    """The version's number, before any work.

    Raises FileExistsError where it is taken, ValueError where versions cannot go together.
    """
    earlier = described(folder / spec.name)
    chosen = version or max(taken(folder / spec.name), default=0) + 1
    if (folder / spec.name / str(chosen)).is_dir() and not replace:
        raise FileExistsError(f"{folder / spec.name} has a version {chosen} already; choose another, or replace it")
    for number, model in earlier.items():
        if number != chosen:
            check_exchangeable(spec, model.spec)
    return chosen


def _publish(
    graph: onnx.ModelProto,
    spec: ModelSpec,
    facts: Mapping[str, Any],
    folder: Path,
    version: int,
    parameters: int,
    pictures: Mapping[str, bytes],
) -> tuple[Path, Model, int]:
    data = graph.SerializeToString()
    model = Model(spec, version, hashlib.sha256(data).hexdigest(), golden_of(graph, spec))
    card = to_card(model, facts, len(data), parameters)
    path = write(folder, model, described(folder / spec.name), data, {CARD: card.encode(), **pictures}, ONNX)
    return path, model, len(data)


def golden_of(graph: onnx.ModelProto, spec: ModelSpec) -> Golden:
    """The graph's own out_0 to the golden input, under ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return Golden(session.run(output_names(spec)[:1], golden_input(spec))[0], GOLDEN_TOLERANCE)
