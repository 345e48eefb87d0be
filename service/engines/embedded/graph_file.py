"""What is read of a model.onnx, and the file with constants in place of some of its values.

Fields have the numbers of ONNX's `onnx.proto`; its package need not be installed.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2
from numpy.typing import NDArray

from service.engines.messages import Kind, add_field, message_class

PACKAGE = "onnx_in_part"
FLOAT = 1  # TensorProto.DataType
MANY = Kind.LABEL_REPEATED
MESSAGES: dict[str, dict[str, tuple[int, dict[str, Any]]]] = {
    "TensorProto": {
        "dims": (1, {"type": Kind.TYPE_INT64, "label": MANY}),
        "data_type": (2, {"type": Kind.TYPE_INT32}),
        "name": (8, {}),
        "raw_data": (9, {"type": Kind.TYPE_BYTES}),
    },
    "ValueInfoProto": {"name": (1, {})},
    "NodeProto": {"input": (1, {"label": MANY}), "output": (2, {"label": MANY}), "op_type": (4, {})},
    "GraphProto": {
        "node": (1, {"type_name": "NodeProto", "label": MANY}),
        "initializer": (5, {"type_name": "TensorProto", "label": MANY}),
        "input": (11, {"type_name": "ValueInfoProto", "label": MANY}),
    },
    "ModelProto": {"graph": (7, {"type_name": "GraphProto"})},
}


class GraphFile:
    """A model.onnx. data: its bytes, which are those of a model."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        nodes = model_class().FromString(data).graph.node
        self._splits = {node.input[0]: tuple(node.output) for node in nodes if node.op_type == "Split"}
        convolved = {name for node in nodes if node.op_type == "Conv" for name in node.output}
        self.scales_channels = any(node.op_type == "Mul" and not convolved.isdisjoint(node.input) for node in nodes)
        """Whether what a convolution makes is multiplied."""

    def parts_of(self, name: str) -> tuple[str, ...]:
        """Names of the parts that a value is split into; none where it is not split."""
        return self._splits.get(name, ())

    def with_constants(self, values: Mapping[str, NDArray[np.float32]]) -> bytes:
        """The model with constants in place of inputs, or of what nodes make; their results get other names."""
        model = model_class().FromString(self._data)
        for given in [given for given in model.graph.input if given.name in values]:
            model.graph.input.remove(given)
        for node in model.graph.node:
            node.output[:] = [f"{name}/replaced" if name in values else name for name in node.output]
        for name, value in values.items():
            model.graph.initializer.add(name=name, dims=value.shape, data_type=FLOAT, raw_data=value.astype("<f4").tobytes())
        data: bytes = model.SerializeToString()
        return data


@cache
def model_class() -> Any:
    """The class of `ModelProto`."""
    file = descriptor_pb2.FileDescriptorProto(name="read_model.proto", package=PACKAGE, syntax="proto2")
    for message_name, fields in MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, (number, facts) in fields.items():
            if "type_name" in facts:
                facts = {**facts, "type": Kind.TYPE_MESSAGE, "type_name": f".{PACKAGE}.{facts['type_name']}"}  # noqa: PLW2901
            add_field(message, name, number, **facts)
    return message_class(file, "ModelProto")
