"""config.pbtxt is generated from the spec; its text is pinned by a golden file."""

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.configuration import ONNX, from_text, to_text
from rddm.model import Golden, Model
from rddm.spec import ModelSpec
from service.engines.configuration import parse_config, read_config, to_models

GOLDEN = Path(__file__).with_name("config.pbtxt")


def model(version: int = 1, **changes: object) -> Model:
    facts = {"name": "example", "task": "lowlight", "licence": "Apache-2.0", "condition": ("image", "context"), "size_multiple": 16}
    spec = ModelSpec.model_validate({**facts, **changes})
    return Model(spec, version, f"{version:064x}", Golden(np.zeros((1, 3, 32, 32), dtype=np.float32), 4e-3))


def test_the_text_is_the_golden_file() -> None:
    text = to_text([model()], ONNX)
    assert text == GOLDEN.read_text(encoding="utf-8"), f"if the change is meant, write this to {GOLDEN}:\n{text}"


def test_the_gateway_reads_what_export_wrote(tmp_path: Path) -> None:
    path = tmp_path / "config.pbtxt"
    path.write_text(to_text([model(3), model(2)]), encoding="utf-8")
    config = read_config(path)
    assert (config.backend, config.file) == ("onnxruntime", "model.onnx")
    triton = text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    assert triton.max_batch_size == 16
    assert triton.dynamic_batching.max_queue_delay_microseconds == 0
    assert triton.version_policy.latest.num_versions == 2
    assert {version: one.spec for version, one in to_models(config).items()} == {2: model().spec, 3: model().spec}


def test_a_model_that_is_given_nothing_has_no_condition() -> None:
    text = to_text([model(condition=(), start="noise", image_size=(64, 64))])
    assert '"condition"' not in text


def test_versions_whose_graphs_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="disagree on condition"):
        to_text([model(1), model(2, condition=("image",))])
    with pytest.raises(ValueError, match="disagree on the number of outputs"):
        to_text([model(1), model(2, objective="pred_res_noise")])


def test_text_that_is_no_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a model configuration"):
        from_text("name = 1")
    (tmp_path / "config.pbtxt").write_text("name = 1")
    with pytest.raises(ValueError, match=r"config\.pbtxt is not a model configuration"):
        read_config(tmp_path / "config.pbtxt")


def test_a_configuration_that_holds_another_models_spec_is_refused() -> None:
    text = to_text([model()]).replace('name: "example"', 'name: "other"', 1)
    assert from_text(text)[1].spec.name == "example"
    with pytest.raises(ValueError, match="'other' holds the spec of 'example'"):
        to_models(parse_config(text))
