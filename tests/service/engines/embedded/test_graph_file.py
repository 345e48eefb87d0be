"""A model.onnx is read in part, and nothing else of it is lost."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from service.engines.embedded.graph_file import GraphFile
from service.engines.repository import find_newest
from service.settings import shipped_repository

REWRITTEN = """
import sys
from pathlib import Path
from google.protobuf.internal import api_implementation
from service.engines.embedded.graph_file import GraphFile
assert api_implementation.Type() == "python"
source, target = map(Path, sys.argv[1:])
target.write_bytes(GraphFile(source.read_bytes()).with_constants({}))
"""


def graph(operator: str = "Mul") -> bytes:
    """out = convolved(second part of given) OPERATOR time."""
    weight = helper.make_tensor("weight", TensorProto.FLOAT, (1, 1, 1, 1), [2.0])
    nodes = [
        helper.make_node("Split", ["given"], ["first", "second"], axis=1, num_outputs=2),
        helper.make_node("Conv", ["second", "weight"], ["convolved"]),
        helper.make_node(operator, ["convolved", "time"], ["out"]),
    ]
    inputs = [helper.make_tensor_value_info(*each) for each in (("given", 1, (1, 2, 1, "w")), ("time", 1, (1,)))]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, (1, 1, 1, "w"))]
    made = helper.make_graph(nodes, "small", inputs, outputs, [weight])
    model: bytes = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()
    return model


def answer(data: bytes, **feeds: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert {given.name for given in session.get_inputs()} == set(feeds)
    return np.asarray(session.run(None, feeds)[0]).ravel()


def test_what_is_not_described_stays_as_it_is() -> None:
    data = find_newest(shipped_repository(), "derain").read()
    assert onnx.load_from_string(GraphFile(data).with_constants({})) == onnx.load_from_string(data)


def test_protobuf_in_python_keeps_it_too(tmp_path: Path) -> None:
    source, target = tmp_path / "given.onnx", tmp_path / "written.onnx"
    source.write_bytes(graph())
    environment = os.environ | {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    subprocess.run([sys.executable, "-c", REWRITTEN, str(source), str(target)], check=True, env=environment)
    assert onnx.load(target) == onnx.load(source)


def test_constants_take_the_place_of_inputs_and_of_what_nodes_make() -> None:
    given, time = np.arange(6, dtype=np.float32).reshape(1, 2, 1, 3), np.array([10], np.float32)
    np.testing.assert_array_equal(answer(graph(), given=given, time=time), [60, 80, 100])
    constants = {"time": time}
    np.testing.assert_array_equal(answer(GraphFile(graph()).with_constants(constants), given=given), [60, 80, 100])
    constants |= {"second": np.array([1, 0.5], np.float32).reshape(1, 1, 1, 2)}
    np.testing.assert_array_equal(answer(GraphFile(graph()).with_constants(constants), given=given), [20, 10])


@pytest.mark.parametrize(("operator", "scales"), [("Mul", True), ("Add", False)])
def test_it_says_whether_what_a_convolution_makes_is_multiplied(operator: str, scales: bool) -> None:
    assert GraphFile(graph(operator)).scales_channels is scales


def test_it_names_the_parts_that_a_value_is_split_into() -> None:
    assert GraphFile(graph()).parts_of("given") == ("first", "second")
    assert GraphFile(graph()).parts_of("time") == ()
