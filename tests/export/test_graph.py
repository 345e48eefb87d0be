"""The graph answers as torch, in any size, and carries its spec."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export.graph import (
    IR_VERSION,
    OPSET,
    answered,
    captured,
    compare,
    plain,
    quiet_exporter,
    random_inputs,
    rounded,
    three_shapes,
    to_onnx,
    traced,
)
from rddm.spec import ModelSpec
from tests.models import tiny_network, tiny_spec
from training.networks import UNetConfig, make_network


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    return to_onnx(rounded(tiny_network(tiny_spec())), tiny_spec())


def test_a_graph_that_differs_from_torch_is_refused(graph: onnx.ModelProto) -> None:
    with pytest.raises(ValueError, match=r"the graph of 'tiny' differs from torch by more than 0\.0001"):
        compare(graph, answered(tiny_network(tiny_spec(), seed=1), tiny_spec()), tiny_spec())


def test_a_captured_graph_answers_as_torch_for_three_shapes(graph: onnx.ModelProto) -> None:
    expected = answered(rounded(tiny_network(tiny_spec())), tiny_spec())
    assert [comparison.shape for comparison in compare(graph, expected, tiny_spec())] == [(1, 64, 64), (4, 4, 4), (2, 12, 20)]


def test_versions_are_capped_for_older_servers(graph: onnx.ModelProto) -> None:
    assert graph.ir_version <= IR_VERSION
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", OPSET)]


def test_the_spec_is_in_the_graphs_metadata(graph: onnx.ModelProto) -> None:
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    assert ModelSpec.model_validate_json(metadata["rddm.spec"]) == tiny_spec()


def test_weights_are_fp16_in_the_file_and_float32_in_the_session(graph: onnx.ModelProto, tmp_path: Path) -> None:
    large = [tensor for tensor in graph.graph.initializer if np.prod(tensor.dims) >= 256]
    assert large
    assert {tensor.data_type for tensor in large} == {onnx.TensorProto.FLOAT16}
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    onnxruntime.InferenceSession(graph.SerializeToString(), options)
    optimised = onnx.load(tmp_path / "optimised.onnx")
    kept = [tensor.name for tensor in optimised.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16]
    assert kept == [], "the casts were not folded when the session was made"


def test_weights_beyond_fp16_are_named() -> None:
    network = tiny_network(tiny_spec())
    with torch.no_grad():
        network.door.weight[0, 0, 0, 0] = 1e6  # type: ignore[union-attr, operator, index]
    with pytest.raises(ValueError, match=r"door\.weight reaches 1e\+06"):
        rounded(network)


class Doubled(torch.nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(x, self.weight * 2)

    def plain(self) -> torch.nn.Conv2d:
        layer = torch.nn.Conv2d(3, 3, 1, bias=False)
        layer.weight = torch.nn.Parameter(self.weight * 2)
        return layer


def test_layers_that_compute_their_weights_are_folded() -> None:
    network = torch.nn.Sequential(Doubled(3, 3, 1, bias=False))
    folded = plain(network)
    x = torch.rand(1, 3, 2, 2)
    assert type(folded[0]) is torch.nn.Conv2d  # type: ignore[index]
    torch.testing.assert_close(folded(x), network(x))


def test_the_authors_unet_is_traced_and_answers_as_torch_in_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.graph.captured", None)
    spec = tiny_spec().model_copy(update={"condition": ("image", "mask"), "objective": "pred_res_noise"})
    for share_encoder in (0, 1):
        config = UNetConfig(condition=spec.condition, outputs=2, dim=8, dim_mults=(1, 2), share_encoder=share_encoder)
        network = plain(make_network(config))
        graph = to_onnx(network, spec, half_weights=False)
        assert [value.name for value in graph.graph.input] == ["x_t", "condition", "time"]
        assert [value.name for value in graph.graph.output] == ["out_0", "out_1"]
        assert len(compare(graph, answered(network, spec), spec)) == 3


def test_a_trace_of_the_small_network_is_what_symbolic_sizes_give() -> None:
    network, spec = plain(tiny_network(tiny_spec())), tiny_spec()
    with quiet_exporter():
        graphs = [make(network, spec) for make in (traced, captured)]
    assert compare(graphs[1], answered(network, spec), spec)
    sessions = [onnxruntime.InferenceSession(graph.SerializeToString()) for graph in graphs]
    for shape in three_shapes(spec):
        once, symbolic = (session.run(None, random_inputs(spec, shape)) for session in sessions)
        np.testing.assert_allclose(once, symbolic, atol=1e-5)


def test_a_trace_that_holds_for_one_size_alone_is_refused() -> None:
    class Branched(torch.nn.Module):
        branchless = True

        def forward(self, x: torch.Tensor, condition: torch.Tensor | None, time: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (x * x.shape[2] if x.shape[2] > 20 else x,)

    network, spec = Branched(), tiny_spec().model_copy(update={"condition": ()})
    graph = to_onnx(network, spec, half_weights=False)
    assert [value.name for value in graph.graph.input] == ["x_t", "time"]  # also what nothing reads
    with pytest.raises(ValueError, match="differs from torch"):
        compare(graph, answered(network, spec), spec)
