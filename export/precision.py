"""A float32 graph with its convolutions in fp16 or bf16, every type written into the graph.

TensorRT 11 takes the types that a graph has and no hints beside it, TensorRT 10 does so with --stronglyTyped; so the choice is made
here. What follows a convolution is computed as the convolution was, up to the first operation that needs float32 or to the graph's
outputs, which stay float32 as its inputs do. What no convolution precedes (a tone curve, the time's embedding) is left alone.
"""

from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Precision = Literal["fp32", "bf16", "fp16"]
TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
HEADS = {"Conv", "ConvTranspose"}
# Operations whose every float input and output may be of the low precision, and which lose nothing of note by it.
FOLLOWERS = {
    *("Add", "Mul", "Sub", "Relu", "LeakyRelu", "Sigmoid", "Concat", "Split", "Reshape", "Transpose", "Slice", "Pad", "Resize"),
    *("DepthToSpace", "SpaceToDepth", "Identity", "Unsqueeze", "Squeeze", "Expand", "Flatten", "Clip", "MaxPool"),
}
# Inputs that are never of the data's type: shapes, axes, sizes.
WHOLE_NUMBERS = {"Reshape": {1}, "Slice": {1, 2, 3, 4}, "Pad": {1, 3}, "Resize": {1, 2, 3}, "Split": {1}, "Unsqueeze": {1}}
WHOLE_NUMBERS |= {"Squeeze": {1}, "Expand": {1}}


def lowered(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """The graph in the precision; fp32 is a copy. Raises ValueError for an unknown precision."""
    if precision != "fp32" and precision not in TYPES:
        raise ValueError(f"unknown precision {precision!r}; expected one of {['fp32', *TYPES]}")
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    if precision != "fp32":
        _Lowering(changed.graph, TYPES[precision]).run()
        onnx.checker.check_model(changed)
    return changed


class _Lowering:
    """One pass over the graph in its order, inserting a cast wherever a tensor changes sides."""

    def __init__(self, graph: onnx.GraphProto, kind: int) -> None:
        self.graph, self.kind = graph, kind
        self.low: set[str] = set()  # tensors that are of the low precision
        self.cast: dict[tuple[str, int], str] = {}
        self.outputs = {value.name for value in graph.output}
        self.whole = _not_float(graph)
        self.nodes: list[onnx.NodeProto] = []

    def run(self) -> None:
        for node in list(self.graph.node):
            lower = self._is_low(node)
            for place, name in enumerate(node.input):
                data = name and name not in self.whole and place not in WHOLE_NUMBERS.get(node.op_type, set())
                if data and lower != (name in self.low):
                    node.input[place] = self._as(name, self.kind if lower else TensorProto.FLOAT)
            self.nodes.append(node)
            if lower:
                self.low.update(node.output)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        del self.graph.value_info[:]

    def _is_low(self, node: onnx.NodeProto) -> bool:
        if self.outputs & set(node.output):
            return False
        return node.op_type in HEADS or (node.op_type in FOLLOWERS and any(name in self.low for name in node.input))

    def _as(self, name: str, kind: int) -> str:
        if (name, kind) not in self.cast:
            self.cast[name, kind] = f"{name}.as{kind}"
            self.nodes.append(helper.make_node("Cast", [name], [f"{name}.as{kind}"], to=kind))
        return self.cast[name, kind]


def _not_float(graph: onnx.GraphProto) -> set[str]:
    """Tensors that hold shapes, indices or truths rather than pixels or weights."""
    typed = onnx.shape_inference.infer_shapes(helper.make_model(graph)).graph
    floats = {TensorProto.FLOAT, TensorProto.FLOAT16}
    others = {value.name for value in typed.value_info if value.type.tensor_type.elem_type not in floats}
    return others | {tensor.name for tensor in graph.initializer if tensor.data_type not in floats}


def embedded_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with weights that are stored as fp16 written out as float32, so that a type says what is computed."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    stored = {tensor.name: tensor for tensor in changed.graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    kept = []
    for node in changed.graph.node:
        tensor = stored.get(node.input[0]) if node.op_type == "Cast" else None
        if tensor is None:
            kept.append(node)
        else:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), node.output[0]))
    del changed.graph.node[:]
    changed.graph.node.extend(kept)
    return changed
