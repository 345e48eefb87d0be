"""A model that was exported becomes a checkpoint again, and answers as it did."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from export.release import release
from tests.models import tiny_spec
from training.checkpoint import load_checkpoint
from training.importing.command import main
from training.importing.exported import convert_exported
from training.networks import SmallConfig, make_network

WIDTHS, DEPTHS = (16, 24), (0, 1)
FEATURES: dict[str, dict[str, Any]] = {
    "image": {"condition": ("image",)},
    "nothing, two outputs": {"condition": (), "outputs": 2},
    "levels": {"condition": ("image", "context"), "levels": True},
    "mask": {"condition": ("image", "mask")},
    "fill": {"condition": ("image", "mask"), "fill": True},
    "exposure": {"condition": ("image", "context"), "exposure": True},
    "brightness": {"condition": ("image", "context", "brightness"), "exposure": True, "brightness": True},
}


def exported(folder: Path, version: int = 1, **features: Any) -> tuple[SmallConfig, dict[str, torch.Tensor]]:
    """A network with random weights in a repository: its configuration and weights."""
    config = SmallConfig(widths=WIDTHS, depths=DEPTHS, time_width=16, **features)
    torch.manual_seed(version)
    network = make_network(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    generates = {"start": "noise", "image_size": (32, 32), "objective": "pred_res_noise"} if config.outputs == 2 else {}
    spec = tiny_spec("mended", condition=config.condition, size_multiple=16, **generates)
    release(network.eval(), spec, {}, folder, version, weights="fp16")
    return config, network.state_dict()


@pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
def test_the_weights_and_the_network_come_back(features: dict[str, Any], tmp_path: Path) -> None:
    config, weights = exported(tmp_path, **features)
    checkpoint = convert_exported(tmp_path / "mended")
    assert checkpoint.network == config
    assert checkpoint.spec.condition == config.condition
    assert checkpoint.weights.keys() == weights.keys()
    for name, value in weights.items():
        torch.testing.assert_close(checkpoint.weights[name], value, rtol=2**-11, atol=2**-24)  # half of fp16's last place


def test_a_folder_gives_its_newest_version_under_the_name_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(tmp_path, 9, **FEATURES["image"])
    _, newest = exported(tmp_path, 10, **FEATURES["image"])
    folder = tmp_path / "checkpoint"
    assert main([str(tmp_path / "mended"), "-o", str(folder), "--name", "further"]) == 0
    assert "model.onnx, version 10" in capsys.readouterr().out
    checkpoint = load_checkpoint(folder)
    assert checkpoint.spec.name == "further"
    torch.testing.assert_close(checkpoint.weights["exit.weight"], newest["exit.weight"], rtol=2**-11, atol=2**-24)


def test_a_graph_that_answers_otherwise_than_its_weights_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported(tmp_path, **FEATURES["image"])
    path = tmp_path / "mended" / "1" / "model.onnx"
    model = onnx.load(path)
    for node in model.graph.node:
        if node.op_type == "LeakyRelu":
            node.attribute[0].f = 0.5
    onnx.save(model, path)
    assert main([str(tmp_path / "mended"), "-o", str(tmp_path / "checkpoint")]) == 2
    assert "do not make a network that answers as it does" in capsys.readouterr().err
    assert not (tmp_path / "checkpoint").exists()


def test_a_graph_of_another_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported(tmp_path, **FEATURES["image"])
    path = tmp_path / "mended" / "1" / "model.onnx"
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.name = f"other.{tensor.name}"
    onnx.save(model, path)
    assert main([str(path), "-o", str(tmp_path / "checkpoint")]) == 2
    assert "does not hold the small network" in capsys.readouterr().err


def test_options_of_other_sources_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported(tmp_path, **FEATURES["image"])
    assert main([str(tmp_path / "mended"), "--steps", "3"]) == 2
    assert "--steps cannot be used with mended, an exported model of this project" in capsys.readouterr().err


def test_every_model_that_ships_can_be_trained_further(root: Path) -> None:
    models = [path for path in (root / "model_repository").iterdir() if path.is_dir()]
    names = {convert_exported(path).spec.name for path in models}
    assert names == {path.name for path in models} >= {"clean", "derain", "emoji", "lowlight", "raindrop"}
