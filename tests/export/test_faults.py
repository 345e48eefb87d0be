"""The exported classifier answers as torch does, and carries its thresholds."""

import json

import onnx
import onnxruntime
import torch

from export.faults import INPUTS, set_thresholds, to_onnx
from rddm.faults import FAULTS
from training.faults.network import FaultNetwork


def test_the_graph_has_the_inputs_of_a_picture_and_its_thresholds() -> None:
    torch.manual_seed(0)
    model = to_onnx(FaultNetwork().eval())  # compared with torch inside
    set_thresholds(model, dict.fromkeys(FAULTS, 0.5))
    assert [one.name for one in model.graph.input] == list(INPUTS)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["thresholds"]) == dict.fromkeys(FAULTS, 0.5)
    assert not [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    onnx.checker.check_model(model)
