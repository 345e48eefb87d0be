"""A checkpoint becomes a model in the repository: the graph answers as torch does, and nothing is ever half written."""

import hashlib
import os
import shutil
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export import release as released
from export.graph import IR_VERSION, OPSET, TOLERANCE, compare, plain, rounded, to_onnx
from export.release import Release, release
from export.repository import described
from rddm.model import golden_input
from rddm.spec import ModelSpec
from tests.models import release_tiny, tiny_network, tiny_spec


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    return to_onnx(rounded(tiny_network(tiny_spec())), tiny_spec())


@pytest.fixture
def written(tmp_path: Path) -> Release:
    return release_tiny(tmp_path)


def test_the_graph_answers_as_torch_for_three_shapes(written: Release) -> None:
    assert [comparison.shape for comparison in written.comparisons] == [(1, 32, 32), (4, 4, 4), (2, 12, 20)]
    assert max(comparison.deviation for comparison in written.comparisons) < TOLERANCE


def test_a_graph_that_differs_from_torch_is_refused(graph: onnx.ModelProto) -> None:
    with pytest.raises(ValueError, match=r"the graph of 'tiny' differs from torch by more than 0\.0001"):
        compare(graph, tiny_network(tiny_spec(), seed=1), tiny_spec())


def test_two_outputs_without_a_condition(tmp_path: Path) -> None:
    spec = tiny_spec("both", condition=(), start="noise", image_size=(32, 32), objective="pred_res_noise")
    path = release_tiny(tmp_path, spec).path
    session = onnxruntime.InferenceSession(path / "1" / "model.onnx")
    assert [value.name for value in session.get_inputs()] == ["x_t", "time"]
    assert [value.name for value in session.get_outputs()] == ["out_0", "out_1"]


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


def test_the_golden_answer_is_the_models_own(written: Release) -> None:
    session = onnxruntime.InferenceSession(written.path / "1" / "model.onnx")
    [answer] = session.run(None, golden_input(tiny_spec()))
    assert described(written.path)[1].golden.deviation(answer) == 0


def test_the_digest_is_that_of_the_file(written: Release) -> None:
    data = (written.path / "1" / "model.onnx").read_bytes()
    assert described(written.path)[1].digest == hashlib.sha256(data).hexdigest()


def test_the_card_tells_licence_recipe_and_digest(written: Release) -> None:
    card = (written.path / "README.md").read_text(encoding="utf-8")
    for fact in ("Apache-2.0", "Recipe: untrained", written.model.digest):
        assert fact in card


def test_a_second_version_joins_the_first(written: Release, tmp_path: Path) -> None:
    second = release_tiny(tmp_path, seed=1)
    assert second.model.version == 2
    assert {version: model.digest for version, model in described(second.path).items()} == {
        1: written.model.digest,
        2: second.model.digest,
    }


@pytest.mark.parametrize(("copied", "gone"), [("7", None), ("7", "2"), ("notes", "2")])
def test_a_new_version_is_past_directories_and_configuration(
    written: Release, tmp_path: Path, copied: str, gone: str | None
) -> None:
    release_tiny(tmp_path, seed=1)
    shutil.copytree(written.path / "1", written.path / copied)
    if gone:
        shutil.rmtree(written.path / gone)
    assert release_tiny(tmp_path, seed=1).model.version == (8 if copied == "7" else 3)


def test_a_version_without_configuration_is_not_overwritten(written: Release, tmp_path: Path) -> None:
    shutil.copytree(written.path / "1", written.path / "2")
    with pytest.raises(FileExistsError, match="has a version 2 already"):
        release_tiny(tmp_path, seed=1, version=2)


def test_a_version_is_overwritten_only_when_asked(written: Release, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="has a version 1 already"):
        release_tiny(tmp_path, seed=1, version=1)
    again = release_tiny(tmp_path, seed=1, version=1, replace=True)
    assert described(again.path)[1].digest == again.model.digest != written.model.digest


@pytest.mark.parametrize("exists", [False, True])
def test_a_full_disk_leaves_the_repository_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool) -> None:
    if exists:
        release_tiny(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write_bytes = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "README.md":
            raise OSError(28, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        release_tiny(tmp_path, seed=1)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == (["tiny"] if exists else [])


def test_what_a_killed_export_left_is_swept(tmp_path: Path) -> None:
    for name, age in (("old", 7200), ("new", 60), ("only-copy", 7200)):
        staging = tmp_path / f".staging-{name}"
        (staging / ("replaced" if name == "only-copy" else "version")).mkdir(parents=True)
        os.utime(staging, (time.time() - age,) * 2)
    release_tiny(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".staging-new", ".staging-only-copy", "tiny"]


def test_a_rename_that_fails_brings_the_old_version_back(written: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def refuse(path: Path, target: Path) -> Path:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="Read-only"):
        release_tiny(tmp_path, seed=1, version=1, replace=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_everyone_may_read_what_was_written(written: Release) -> None:
    assert (written.path / "1").stat().st_mode & 0o777 == 0o755
    assert (written.path / "1" / "model.onnx").stat().st_mode & 0o777 == 0o644


def test_weights_stay_float32_where_fp16_would_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(released, "UNSEEN", 0.0)
    found = release(tiny_network(tiny_spec()), tiny_spec(), {}, tmp_path)
    assert (found.weights, found.rounding > 0) == ("fp32", True)
