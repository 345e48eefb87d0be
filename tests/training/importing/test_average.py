"""The mean of checkpoints: of their weights, and of nothing that does not fit."""

from pathlib import Path

import pytest
import torch

from rddm.spec import ModelSpec
from training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.importing.average import main
from training.networks import SmallConfig, make_network

SPEC = ModelSpec(name="tiny", task="tiny", licence="CC0-1.0", size_multiple=8, default_steps=2)


def save(folder: Path, width: int = 8) -> Checkpoint:
    network = SmallConfig(widths=(width, width), depths=(1, 1), time_width=8)
    save_checkpoint(folder, Checkpoint(SPEC, network, make_network(network).state_dict(), {"steps": 3}))
    return load_checkpoint(folder)


def test_weights_are_the_weighted_mean(tmp_path: Path) -> None:
    a, b = save(tmp_path / "a"), save(tmp_path / "b")
    assert main([f"{tmp_path / 'a'}:0.25", f"{tmp_path / 'b'}:0.75", "-o", str(tmp_path / "mean")]) == 0
    checkpoint = load_checkpoint(tmp_path / "mean")
    for name, weight in checkpoint.weights.items():
        assert torch.allclose(weight, 0.25 * a.weights[name] + 0.75 * b.weights[name], atol=1e-6)
    assert any(not torch.equal(weight, b.weights[name]) for name, weight in checkpoint.weights.items())
    assert checkpoint.facts["steps"] == 3


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [(["a:0.5", "b:0.6"], "sum to 1.1"), (["a:0.5", "wide:0.5"], "differ in spec or network"), (["a"], "names no share")],
)
def test_what_cannot_be_averaged_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], parts: list[str], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, width in (("a", 8), ("b", 8), ("wide", 16)):
        save(tmp_path / name, width)
    assert main([*parts, "-o", "mean"]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()
