"""Graphs in lower precision keep their inputs and outputs, and nearly their answers."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from export.precision import embedded_weights, lowered
from export.tensorrt import (
    agreement,
    restored,
)
from rddm.model import golden_input
from tests.models import tiny_spec


@pytest.fixture
def graph(source: Path) -> onnx.ModelProto:
    return onnx.load(source / "tiny" / "1" / "model.onnx")


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_convolutions_get_the_low_precision_and_inputs_and_outputs_stay_float32(graph: onnx.ModelProto, precision: str) -> None:
    low = lowered(embedded_weights(graph), precision)  # type: ignore[arg-type]
    kind = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[precision]
    made = {node.output[0]: node for node in low.graph.node}
    convolutions = [node for node in low.graph.node if node.op_type == "Conv"]
    assert convolutions
    typed = onnx.shape_inference.infer_shapes(low, strict_mode=True)
    kinds = {value.name: value.type.tensor_type.elem_type for value in typed.graph.value_info}
    assert all(kinds[node.output[0]] == kind for node in convolutions)
    assert {value.type.tensor_type.elem_type for value in (*low.graph.input, *low.graph.output)} == {TensorProto.FLOAT}
    assert all(made[node.input[1]].op_type == "Cast" for node in convolutions), "weights are cast once, not stored twice"


def test_a_graph_in_fp16_restores_nearly_the_same_picture(graph: onnx.ModelProto) -> None:
    spec = tiny_spec()
    sessions = [onnxruntime.InferenceSession(one.SerializeToString()) for one in (graph, lowered(embedded_weights(graph), "fp16"))]
    exact, low = (restored(spec, lambda feeds, s=session: tuple(s.run(None, dict(feeds)))) for session in sessions)
    assert 50 < agreement(low, exact) < 150


def test_writing_out_the_weights_changes_no_answer(graph: onnx.ModelProto) -> None:
    given = golden_input(tiny_spec())
    answers = [
        onnxruntime.InferenceSession(one.SerializeToString()).run(None, given)[0] for one in (graph, embedded_weights(graph))
    ]
    np.testing.assert_array_equal(*answers)


def test_an_unknown_precision_is_refused_with_the_list(graph: onnx.ModelProto) -> None:
    with pytest.raises(ValueError, match=r"'fp8'; expected one of \['fp32', 'fp16', 'bf16'\]"):
        lowered(graph, "fp8")  # type: ignore[arg-type]
