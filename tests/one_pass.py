"""Image-to-image networks of one pass as others publish them, with random weights."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

IMAGE = ["n", 3, "height", "width"]


def ffdnet(path: Path, layers: int = 3, width: int = 8, strength: float = 0.005) -> Path:
    """FFDNet's shape: pixels unshuffled by 2, a map of the noise level beside, convolutions, shuffled back; values in 0..1.

    Its last layer is small and its input goes round: a network that leaves a clean picture nearly alone, as a trained one does.
    """
    draw = np.random.default_rng(3)
    nodes = [
        helper.make_node("SpaceToDepth", ["x"], ["down"], blocksize=2),
        helper.make_node("Shape", ["down"], ["shape"]),
        helper.make_node("Gather", ["shape", "of_map"], ["kept"]),
        helper.make_node("Concat", ["kept_batch", "one", "kept_size"], ["map_shape"], axis=0),
        helper.make_node("Expand", ["sigma", "map_shape"], ["map"]),
        helper.make_node("Concat", ["down", "map"], ["h0"], axis=1),
    ]
    nodes[2:3] = [
        helper.make_node("Slice", ["shape", "first", "second", "zero"], ["kept_batch"]),
        helper.make_node("Slice", ["shape", "third", "fifth", "zero"], ["kept_size"]),
    ]
    constants = {"first": [0], "second": [1], "third": [2], "fifth": [4], "zero": [0], "one": [1]}
    tensors = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()]
    channels = [13, *[width] * (layers - 1), 12]
    for k in range(layers):
        scale = strength if k == layers - 1 else (2 / (9 * channels[k])) ** 0.5
        weight = draw.standard_normal((channels[k + 1], channels[k], 3, 3)) * scale
        tensors.append(numpy_helper.from_array(weight.astype(np.float32), f"w{k}"))
        tensors.append(numpy_helper.from_array(np.zeros(channels[k + 1], np.float32), f"b{k}"))
        nodes.append(helper.make_node("Conv", [f"h{k}", f"w{k}", f"b{k}"], [f"c{k}"], pads=[1, 1, 1, 1]))
        if k < layers - 1:
            nodes.append(helper.make_node("Relu", [f"c{k}"], [f"h{k + 1}"]))
    nodes += [
        helper.make_node("Add", [f"c{layers - 1}", "down"], ["sum"]),
        helper.make_node("DepthToSpace", ["sum"], ["y"], blocksize=2),
    ]
    inputs = [_value("x", IMAGE), _value("sigma", ["n", 1, 1, 1])]
    return save(path, nodes, inputs, tensors, IMAGE)


def scaled(path: Path, times: int = 1, factor: float = 1.0, size: int | None = None, name: str = "input") -> Path:
    """A network that multiplies by `factor` and enlarges by repetition; of one size only where a size is given."""
    dims = IMAGE if size is None else [1, 3, size, size]
    nodes = [
        helper.make_node("Mul", [name, "factor"], ["scaled"]),
        helper.make_node(
            "Resize",
            ["scaled", "", "scales"],
            ["y"],
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        ),
    ]
    if size is not None:
        nodes[0:1] = [helper.make_node("Mul", [name, "pattern"], ["scaled"])]
    tensors = [
        numpy_helper.from_array(np.float32(factor), "factor"),
        numpy_helper.from_array(np.array([1, 1, times, times], np.float32), "scales"),
    ]
    if size is not None:
        pattern = np.full((1, 3, size, size), factor, np.float32)
        tensors[0] = numpy_helper.from_array(pattern, "pattern")
    return save(path, nodes, [_value(name, dims)], tensors, ["n", 3, "height_out", "width_out"])


def high_pass(path: Path, factor: float) -> Path:
    """factor times what a mean over 5 x 5 pixels takes away: nearly the noise of a smooth picture."""
    kernel = np.zeros((3, 1, 5, 5), np.float32) - np.float32(factor / 25)
    kernel[:, :, 2, 2] += factor
    nodes = [
        helper.make_node("Pad", ["x", "border"], ["padded"], mode="reflect"),
        helper.make_node("Conv", ["padded", "kernel"], ["y"], group=3),
    ]
    border = numpy_helper.from_array(np.array([0, 0, 2, 2, 0, 0, 2, 2], np.int64), "border")
    return save(path, nodes, [_value("x", IMAGE)], [numpy_helper.from_array(kernel, "kernel"), border], IMAGE)


def save(
    path: Path, nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], tensors: list[TensorProto], output: list[str | int]
) -> Path:
    graph = helper.make_graph(nodes, "network", inputs, [_value("y", output)], tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _value(name: str, dims: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
