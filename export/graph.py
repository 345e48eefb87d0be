"""A network in torch -> the bare network as an ONNX graph (rddm.graph), compared with torch."""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx_ir.passes import common
from onnxscript import optimizer
from torch import Tensor, nn

from rddm.condition import padded
from rddm.graph import CONDITION, SPEC_KEY, TIME, X_T, input_shapes, output_names
from rddm.spec import ModelSpec

OPSET, IR_VERSION = 20, 10  # what ONNX Runtime 1.20 and later load; Triton 26.09 carries 1.27
TOLERANCE = 1e-4  # max|a - b| / (1 + max|b|) between ONNX Runtime and torch, both float32
CHECKED_SIDE = 64  # pixels
EXAMPLE_SIDES = (2, 3)  # what a network is exported with, in size multiples
SMALLEST_HALF = 256  # values; shorter weights stay float32, there is nothing to gain

Inputs = dict[str, NDArray[np.float32]]


class Graph(nn.Module):
    """The network with the inputs that the graph has: without `condition` where the spec lists nothing."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_t: Tensor, time: Tensor, condition: Tensor | None = None) -> tuple[Tensor, ...]:
        answers: tuple[Tensor, ...] = self.network(x_t, condition, time)
        return answers


@dataclass(frozen=True)
class Comparison:
    """One shape (b h w), and how far the graph's answer is from torch's: max|a - b| / (1 + max|b|) over all outputs."""

    shape: tuple[int, int, int]
    deviation: float


def rounded(network: nn.Module) -> nn.Module:
    """A copy whose weights are those that fp16 can hold, in float32. Raises ValueError naming a weight beyond fp16's range."""
    network = copy.deepcopy(network).float().eval()
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.numel() < SMALLEST_HALF:
                continue
            if not weight.half().isfinite().all():
                raise ValueError(f"{name} reaches {weight.abs().max():.3g}, more than fp16's 65504; store the weights as fp32")
            weight.copy_(weight.half().float())
    return network


def served(network: nn.Module, spec: ModelSpec) -> tuple[nn.Module, ModelSpec]:
    """The network and its spec without what the service computes once a picture, where the network offers that (`served`)."""
    reduced: Callable[[ModelSpec], tuple[nn.Module, ModelSpec]] | None = getattr(network, "served", None)
    return (network, spec) if reduced is None else reduced(spec)


def plain(network: nn.Module) -> nn.Module:
    """A copy in which layers that offer `plain` are replaced: by ones with computed weights, or that runtimes do sooner."""
    network = copy.deepcopy(network).float().eval()
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            computed = getattr(child, "plain", None)
            if computed is not None:
                setattr(parent, name, computed())
    return network


def to_onnx(network: nn.Module, spec: ModelSpec, *, half_weights: bool = True) -> onnx.ModelProto:
    """The graph; half_weights stores large weights as fp16, cast to float32 when a session is made.

    network: float32 and in eval mode, as `plain` and `rounded` give it. One that says so (`branchless`) is traced, in seconds;
    others are captured with symbolic sizes, which takes up to a minute. Raises ValueError from onnx's checker for a graph that is
    not valid.
    """
    with quiet_exporter():
        model = (traced if getattr(network, "branchless", False) else captured)(network, spec)
    finish(model, spec)
    if half_weights:
        store_as_half(model)
    onnx.checker.check_model(model)
    return model


def captured(network: nn.Module, spec: ModelSpec) -> onnx.ModelProto:
    """By torch.export, which reasons about every size symbolically and so sees where a network depends on it."""
    example = as_tensors(random_inputs(spec, example_shape(spec)))
    program = torch.onnx.export(
        Graph(network),
        kwargs=example,
        dynamo=True,
        input_names=list(example),
        output_names=output_names(spec),
        dynamic_shapes=dynamic_shapes(spec),
        opset_version=OPSET,
        verbose=False,
    )
    model: onnx.ModelProto = program.model_proto  # type: ignore[union-attr]
    return model


def traced(network: nn.Module, spec: ModelSpec) -> onnx.ModelProto:
    """By running it once, in a twentieth of the time of `captured`.

    A trace holds what that one run did, whatever the size: for networks whose forward has no branch. `compare` would show another.
    """
    example, written = as_tensors(random_inputs(spec, example_shape(spec))), BytesIO()
    in_order = {name: example[name] for name in (X_T, TIME, CONDITION) if name in example}  # as Graph.forward takes them
    free = {name: {0: "b"} if name == TIME else {0: "b", 2: "h", 3: "w"} for name in (*in_order, *output_names(spec))}
    torch.onnx.export(
        Graph(network),
        tuple(in_order.values()),
        written,  # type: ignore[arg-type]  # a stream is taken, too
        dynamo=False,
        input_names=list(in_order),
        output_names=output_names(spec),
        dynamic_axes=free,
        opset_version=OPSET,
    )
    model = folded(onnx.load_from_string(written.getvalue()))
    # A trace leaves out inputs that nothing reads, and keeps the order of the arguments.
    del model.graph.input[:]
    for name, values in example.items():
        sizes = [free[name].get(axis, size) for axis, size in enumerate(values.shape)]
        model.graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes))
    return model


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with its constants computed, every weight and node once, and nothing that no output needs: half of a trace's nodes.

    The rest of onnxscript's optimiser, its rules for patterns, joins two in a hundred nodes, all of them sizes, and takes four
    fifths of its time on the authors' U-Net.
    """
    graph = ir.serde.deserialize_model(model)
    optimizer.fold_constants(graph, onnx_shape_inference=False)
    for step in (
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
    ):
        step(graph)
    return ir.serde.serialize_model(graph)


def dynamic_shapes(spec: ModelSpec) -> dict[str, dict[int, Any]]:
    """Which axes are free: the batch, and height and width in multiples."""
    batch, height, width = (torch.export.Dim(name, min=1, max=8192) for name in ("b", "h", "w"))
    image: dict[int, Any] = {0: batch, 2: spec.size_multiple * height, 3: spec.size_multiple * width}
    return {name: {0: batch} if name == TIME else image for name in random_inputs(spec, (1, 1, 1))}


def finish(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Cap the versions, drop the exporter's notes on where each node came from, and write the spec into the metadata."""
    model.ir_version = min(model.ir_version, IR_VERSION)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.value_info[:]
    # These differ from process to process, and the digest shall tell weights.
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    set_spec(model, spec)


def set_spec(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Write the spec into the graph's metadata, alone."""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {SPEC_KEY: spec.model_dump_json()})
    model.producer_name, model.doc_string = "rddm", f"{spec.name}: {spec.task}"


def check_answers(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Raises ValueError where the graph does not answer three shapes with finite pictures of the same size."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for shape in three_shapes(spec):
        given = random_inputs(spec, shape)
        [answer] = session.run(None, given)
        if answer.shape != given[X_T].shape or not np.isfinite(answer).all():
            raise ValueError(f"the graph answers {given[X_T].shape} with {answer.shape}, or with values that are not finite")


def store_as_half(model: onnx.ModelProto) -> None:
    """Large float32 initialisers become fp16 and a Cast, which ONNX Runtime folds when it makes a session."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < SMALLEST_HALF:
            continue
        name = tensor.name
        half = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float16), f"{name}.fp16")
        tensor.CopyFrom(half)
        casts.append(onnx.helper.make_node("Cast", [half.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


@dataclass(frozen=True, eq=False)
class Answers:
    """A network's outputs under torch for each of three shapes: computed once, since a large network takes seconds for each."""

    shapes: tuple[tuple[int, int, int], ...]
    outputs: tuple[list[NDArray[np.float32]], ...]


def answered(network: nn.Module, spec: ModelSpec) -> Answers:
    """Asks the network for the spec's three shapes."""
    shapes = tuple(three_shapes(spec))
    return Answers(shapes, tuple(answers(network, random_inputs(spec, shape)) for shape in shapes))


def compare(model: onnx.ModelProto, expected: Answers, spec: ModelSpec) -> list[Comparison]:
    """The graph under ONNX Runtime against the network under torch. Raises ValueError beyond TOLERANCE."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    comparisons = [
        Comparison(shape, deviation(session.run(None, random_inputs(spec, shape)), outputs))
        for shape, outputs in zip(expected.shapes, expected.outputs, strict=True)
    ]
    wrong = [comparison for comparison in comparisons if not comparison.deviation <= TOLERANCE]
    if wrong:
        raise ValueError(f"the graph of {spec.name!r} differs from torch by more than {TOLERANCE}: {wrong}")
    return comparisons


def rounding(rounded: Answers, exact: Answers) -> float:
    """How far the answers move when the weights are stored as fp16, in the measure of `compare`."""
    return max(deviation(*both) for both in zip(rounded.outputs, exact.outputs, strict=True))


def answers(network: nn.Module, given: Inputs) -> list[NDArray[np.float32]]:
    """The network's outputs under torch, float32."""
    with torch.no_grad():
        return [answer.numpy() for answer in Graph(network)(**as_tensors(given))]


def deviation(actual: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]]) -> float:
    """max|a - b| / (1 + max|b|), the largest over the outputs; not a number where an answer is not finite."""
    return max(float(np.abs(a - b).max() / (1 + np.abs(b).max())) for a, b in zip(actual, expected, strict=True))


def example_shape(spec: ModelSpec) -> tuple[int, int, int]:
    """b h w that a network is exported with: neither 1 nor square, so that nothing is taken for another."""
    height, width = EXAMPLE_SIDES
    return 2, height * spec.size_multiple, width * spec.size_multiple


def three_shapes(spec: ModelSpec) -> list[tuple[int, int, int]]:
    """A square, a batch of the smallest pictures, and a picture that is not square; of a file of fixed shapes, two batches.

    Not all of a tile: a large network takes 16 times as long for it, and shows no other deviation.
    """
    m = spec.size_multiple
    if spec.sizes:
        return [(batch, *spec.sizes[0]) for batch in (1, 4)]
    side = padded(CHECKED_SIDE, m)
    return [(1, side, side), (4, m, m), (2, 3 * m, 5 * m)]


def random_inputs(spec: ModelSpec, shape: tuple[int, int, int]) -> Inputs:
    """Inputs by name for b h w, the same each time: pixels uniform in [-1, 1], times in 0..T."""
    generator = np.random.default_rng(7)
    drawn = {name: generator.uniform(-1, 1, size) for name, size in input_shapes(spec, *shape).items()}
    drawn[TIME] = (drawn[TIME] + 1) / 2 * spec.timesteps
    return {name: values.astype(np.float32) for name, values in drawn.items()}


def as_tensors(given: Inputs) -> dict[str, Tensor]:
    """Arrays as torch tensors."""
    return {name: torch.from_numpy(values) for name, values in given.items()}


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silences what torch's exporter logs of its own deprecations and of torchvision: no user can act on it."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
