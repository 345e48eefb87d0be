"""A checkpoint becomes a model in the repository: the graph answers as torch does, and nothing is ever half written."""

import hashlib
from pathlib import Path

import onnxruntime
import pytest

from export import release as released
from export.graph import TOLERANCE
from export.release import Release, release
from export.repository import described
from rddm.model import golden_input
from tests.models import release_tiny, tiny_network, tiny_spec


def test_the_graph_answers_as_torch_for_three_shapes(written: Release) -> None:
    assert [comparison.shape for comparison in written.comparisons] == [(1, 32, 32), (4, 4, 4), (2, 12, 20)]
    assert max(comparison.deviation for comparison in written.comparisons) < TOLERANCE


def test_two_outputs_without_a_condition(tmp_path: Path) -> None:
    spec = tiny_spec("both", condition=(), start="noise", image_size=(32, 32), objective="pred_res_noise")
    path = release_tiny(tmp_path, spec).path
    session = onnxruntime.InferenceSession(path / "1" / "model.onnx")
    assert [value.name for value in session.get_inputs()] == ["x_t", "time"]
    assert [value.name for value in session.get_outputs()] == ["out_0", "out_1"]


def test_the_golden_answer_is_the_models_own(written: Release) -> None:
    session = onnxruntime.InferenceSession(written.path / "1" / "model.onnx")
    [answer] = session.run(None, golden_input(tiny_spec()))
    assert described(written.path)[1].golden.deviation(answer) == 0


def test_the_digest_is_that_of_the_file(written: Release) -> None:
    data = (written.path / "1" / "model.onnx").read_bytes()
    assert described(written.path)[1].digest == hashlib.sha256(data).hexdigest()


def test_weights_stay_float32_where_fp16_would_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(released, "UNSEEN", 0.0)
    found = release(tiny_network(tiny_spec()), tiny_spec(), {}, tmp_path)
    assert (found.weights, found.rounding > 0) == ("fp32", True)
