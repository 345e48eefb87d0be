"""A checkpoint becomes a model in the repository: the graph answers as torch does, and nothing is ever half written."""

import hashlib
from pathlib import Path

import onnx
import onnxruntime
import pytest

from export import release as released
from export.graph import TOLERANCE
from export.release import Release, release
from export.repository import described
from rddm.model import golden_input
from tests.models import release_tiny, tiny_network, tiny_spec
from training.networks import SmallConfig, make_network


def test_the_graph_answers_as_torch_for_three_shapes(written: Release) -> None:
    assert [comparison.shape for comparison in written.comparisons] == [(1, 64, 64), (4, 4, 4), (2, 12, 20)]
    assert max(comparison.deviation for comparison in written.comparisons) < TOLERANCE


def test_two_outputs_without_a_condition(tmp_path: Path) -> None:
    spec = tiny_spec("both", condition=(), start="noise", image_size=(32, 32), objective="pred_res_noise")
    network = tiny_network(spec, config=SmallConfig(condition=(), outputs=2, widths=(8,), depths=(0,)))
    path = release(network, spec, {}, tmp_path).path
    session = onnxruntime.InferenceSession(path / "1" / "model.onnx")
    assert [value.name for value in session.get_inputs()] == ["x_t", "time"]
    assert [value.name for value in session.get_outputs()] == ["out_0", "out_1"]


def test_a_models_exposure_is_exported_into_its_spec_and_out_of_its_graph(tmp_path: Path) -> None:
    config = SmallConfig(condition=("image", "context"), exposure=True, widths=(8,), depths=(0,), time_width=8)
    spec = tiny_spec("dark", condition=config.condition)
    written = release(make_network(config), spec, {"recipe": "untrained"}, tmp_path)
    graph = onnx.load(written.path / "1" / "model.onnx")
    assert written.model.spec.condition == ("image", "exposed", "code")
    assert not {"Pow", "ReduceMean", "DepthToSpace"} & {node.op_type for node in graph.graph.node}
    assert graph.graph.input[1].type.tensor_type.shape.dim[1].dim_value == 7


def test_the_golden_answer_is_the_models_own(written: Release) -> None:
    session = onnxruntime.InferenceSession(written.path / "1" / "model.onnx")
    [answer] = session.run(None, golden_input(tiny_spec()))
    assert described(written.path)[1].golden.deviation(answer) == 0


def test_the_digest_is_that_of_the_file(written: Release) -> None:
    data = (written.path / "1" / "model.onnx").read_bytes()
    assert described(written.path)[1].digest == hashlib.sha256(data).hexdigest()


def test_weights_stay_float32_where_fp16_would_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(released, "UNSEEN", 0.0)
    actual = release_tiny(tmp_path)
    assert (actual.weights, actual.rounding > 0) == ("fp32", True)
