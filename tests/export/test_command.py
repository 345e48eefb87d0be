"""`rddm export` on a checkpoint, and an authors' U-Net whose weights are folded on the way."""

from pathlib import Path

import onnx
import pytest

from export.command import main
from export.graph import answered, compare, plain, to_onnx
from export.repository import described
from tests.models import tiny_network, tiny_spec
from training.checkpoint import Checkpoint, save_checkpoint
from training.networks import SmallConfig, UNetConfig, make_network
from training.networks.unet import WeightStandardizedConv


def test_a_checkpoint_becomes_a_model_that_is_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tiny_spec()
    config = SmallConfig(condition=spec.condition, widths=(8,), depths=(0,))
    weights = tiny_network(spec, config=config).state_dict()
    facts = {"figures": {"psnr": 21.5}, "pictures": {"It fails here": "failures.webp"}}
    save_checkpoint(tmp_path / "checkpoint", Checkpoint(spec, config, weights, facts))
    (tmp_path / "checkpoint" / "failures.webp").write_bytes(b"a picture")
    arguments = [str(tmp_path / "checkpoint"), "-o", str(tmp_path / "repository")]
    assert main(arguments) == 0
    assert "deviation from torch" in capsys.readouterr().out
    [model] = described(tmp_path / "repository" / "tiny").values()
    assert (model.spec, model.version) == (spec, 1)
    card = (tmp_path / "repository" / "tiny" / "README.md").read_text()
    assert "Psnr: 21.5" in card
    assert "![It fails here](failures.webp)" in card
    assert (tmp_path / "repository" / "tiny" / "failures.webp").read_bytes() == b"a picture"
    assert main([*arguments, "--version", "1"]) == 1
    assert "has a version 1 already" in capsys.readouterr().err
    assert main([arguments[0], "-o", f"{arguments[0]}/spec.json"]) == 1
    assert "spec.json is a file; --output takes a folder" in capsys.readouterr().err


def test_what_is_no_checkpoint_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing")]) == 1
    assert "nothing is no checkpoint: model.safetensors is missing" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["0", "-1", "two"])
def test_a_version_that_is_none_is_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["checkpoint", f"--version={wrong}"])
    assert left.value.code == 2
    assert f"'{wrong}' must be a whole number of at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["My Model", "", "a" * 65])
def test_a_name_that_is_none_is_refused_in_one_line(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["checkpoint", f"--name={wrong}"])
    assert left.value.code == 2
    assert f"'{wrong}' must be up to 64 of a-z, 0-9, _ and -, the first a letter or digit" in capsys.readouterr().err


def test_the_authors_weight_standardisation_is_folded_before_export() -> None:
    spec = tiny_spec(objective="pred_res_noise")
    network = make_network(UNetConfig(outputs=2, dim=8, dim_mults=(1, 2))).eval()
    folded = plain(network)
    assert any(isinstance(layer, WeightStandardizedConv) for layer in network.modules())
    assert not any(isinstance(layer, WeightStandardizedConv) for layer in folded.modules())
    graph = to_onnx(folded, spec, half_weights=False)
    assert compare(graph, answered(network, spec), spec)  # the graph of the folded network, against the authors' own layers
    weights = {tensor.name for tensor in graph.graph.initializer}
    computed = [node for node in graph.graph.node if node.op_type.startswith("Reduce") and node.input[0] in weights]
    assert computed == []
    assert isinstance(graph, onnx.ModelProto)
