"""`python -m export.faults RUN -o service/analysis/faults.onnx`: the classifier of faults as a graph that gives probabilities.

The graph carries the thresholds that `python -m benchmarks.auto choose` picks; until then every threshold is 0.5.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from export.graph import IR_VERSION, OPSET, TOLERANCE, quiet_exporter
from rddm.faults import FAULTS, NUMBERS, THUMBNAIL, WINDOW
from training.faults.network import FaultNetwork

INPUTS, OUTPUT = ("thumbnail", "windows", "numbers"), "probabilities"


class Graph(nn.Module):
    """The network, with probabilities instead of logits."""

    def __init__(self, network: FaultNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, thumbnail: Tensor, windows: Tensor, numbers: Tensor) -> Tensor:
        return torch.sigmoid(self.network(thumbnail, windows, numbers))


def to_onnx(network: FaultNetwork) -> onnx.ModelProto:
    """The graph of one picture, batch normalisation folded in, compared with torch. Raises ValueError beyond TOLERANCE."""
    graph, written = Graph(network).eval(), BytesIO()
    draw = torch.Generator().manual_seed(0)
    shapes = ((1, 3, THUMBNAIL, THUMBNAIL), (1, 6, 3, WINDOW, WINDOW), (1, NUMBERS))
    example = tuple(torch.rand(shape, generator=draw) * 2 - 1 for shape in shapes)
    with quiet_exporter():
        torch.onnx.export(
            graph,
            example,
            written,  # type: ignore[arg-type]  # a stream is taken, too
            dynamo=False,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            opset_version=OPSET,
        )
    model = onnx.load_from_string(written.getvalue())
    model.ir_version = min(model.ir_version, IR_VERSION)
    onnx.checker.check_model(model)
    with torch.no_grad():
        expected = graph(*example).numpy()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    [answer] = session.run(None, {name: part.numpy() for name, part in zip(INPUTS, example, strict=True)})
    if not np.abs(answer - expected).max() <= TOLERANCE:
        raise ValueError(f"the graph differs from torch by {np.abs(answer - expected).max():.2g}; expected at most {TOLERANCE}")
    return model


def set_thresholds(model: onnx.ModelProto, thresholds: Mapping[str, float]) -> None:
    """Writes them into the graph's metadata, with the faults' names."""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {"faults": json.dumps(FAULTS), "thresholds": json.dumps(dict(thresholds))})
    model.producer_name, model.doc_string = "rddm", "faults of a picture, from its views (rddm.faults)"


def main(argv: Sequence[str] | None = None) -> int:
    """The verb."""
    parser = argparse.ArgumentParser(prog="python -m export.faults", description="Exports the classifier behind task=auto.")
    parser.add_argument("run", type=Path, metavar="RUN", help="what `python -m training.faults` left")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    given = parser.parse_args(argv)
    network = FaultNetwork()
    network.load_state_dict(load_file(given.run / "model.safetensors"))
    model = to_onnx(network)
    set_thresholds(model, dict.fromkeys(FAULTS, 0.5))
    given.output.write_bytes(model.SerializeToString())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
