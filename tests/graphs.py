"""Graphs for the tests that a network would not give: one that takes as long as it is asked to, and ones that answer wrongly."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.configuration import ONNX, to_text
from export.release import golden_of
from export.repository import described
from rddm.model import Model
from rddm.spec import ModelSpec
from tests.models import tiny_spec

IMAGE = ["b", 3, "h", "w"]


def slow_spec() -> ModelSpec:
    """A model whose call takes `time[0, 0]` rounds of about 5 microseconds."""
    return tiny_spec("slow", condition=(), start="noise", image_size=(32, 32))


def slow_graph() -> onnx.ModelProto:
    """out_0 = x_t, after as many products of matrices as time[0, 0] says. A call can be stopped between two of them."""
    side = 64
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["still_going"]), helper.make_node("MatMul", ["state", "matrix"], ["next"])],
        "round",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [side, side]),
        ],
        [
            helper.make_tensor_value_info("still_going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [side, side]),
        ],
    )
    nodes = [
        helper.make_node("ReduceMax", ["time"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["rounds"], to=TensorProto.INT64),
        helper.make_node("Loop", ["rounds", "", "matrix"], ["end"], body=body),
        helper.make_node("ReduceSum", ["end"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["x_t", "nothing"], ["out_0"]),
    ]
    constants = [
        numpy_helper.from_array(np.zeros((side, side), dtype=np.float32), "matrix"),
        numpy_helper.from_array(np.float32(0), "zero"),
    ]
    return _model(nodes, constants, [("x_t", IMAGE), ("time", ["b", 2])])


def altered(graph: onnx.ModelProto, how: str) -> onnx.ModelProto:
    """The graph, answering `nan`, `off` by a tenth, or `tall`: twice as high as asked."""
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    for node in changed.graph.node:
        node.output[:] = ["right" if name == "out_0" else name for name in node.output]
        node.input[:] = ["right" if name == "out_0" else name for name in node.input]
    nodes = {
        "nan": helper.make_node("Mul", ["right", "nan"], ["out_0"]),
        "off": helper.make_node("Add", ["right", "tenth"], ["out_0"]),
        "tall": helper.make_node("Concat", ["right", "right"], ["out_0"], axis=2),
    }
    changed.graph.node.append(nodes[how])
    changed.graph.initializer.append(numpy_helper.from_array(np.float32(np.nan), "nan"))
    changed.graph.initializer.append(numpy_helper.from_array(np.float32(0.1), "tenth"))
    for output in changed.graph.output:
        output.CopyFrom(helper.make_tensor_value_info("out_0", TensorProto.FLOAT, ["b", 3, "h_out", "w"]))
    return changed


def put(folder: Path, spec: ModelSpec, graph: onnx.ModelProto, version: int = 1, claims: Model | None = None) -> Model:
    """Write a graph into a repository as it is. claims: the model whose golden answer it pretends to give."""
    data = graph.SerializeToString()
    golden = claims.golden if claims else golden_of(graph, spec)
    model = Model(spec, version, hashlib.sha256(data).hexdigest(), golden)
    path = folder / spec.name
    earlier = described(path)
    (path / str(version)).mkdir(parents=True, exist_ok=True)
    (path / str(version) / "model.onnx").write_bytes(data)
    (path / "config.pbtxt").write_text(to_text([*{**earlier, version: model}.values()], ONNX), encoding="utf-8")
    return model


def _model(nodes: list[onnx.NodeProto], constants: list[TensorProto], inputs: list[tuple[str, list[str | int]]]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs],
        [helper.make_tensor_value_info("out_0", TensorProto.FLOAT, IMAGE)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
