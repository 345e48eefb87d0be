"""A checkpoint is read as it was written, or refused by name."""

from pathlib import Path

import pytest
import torch

from tests.training.runs import NETWORK, RECIPE, SPEC, dice
from training.checkpoint import RESUME, WEIGHTS, Checkpoint, build, load_checkpoint, save_checkpoint
from training.trainer import Trainer


def test_a_checkpoint_round_trips(tmp_path: Path) -> None:
    trainer = Trainer(RECIPE, torch.device("cpu"))
    save_checkpoint(tmp_path, Checkpoint(SPEC, NETWORK, trainer.network.state_dict(), {"hours": 1}))
    loaded = load_checkpoint(tmp_path)
    assert (loaded.spec, loaded.network, loaded.facts) == (SPEC, NETWORK, {"hours": 1})
    for name, value in build(loaded).state_dict().items():
        assert torch.equal(value, trainer.network.state_dict()[name])
    assert not list(tmp_path.glob("*.tmp"))


def test_a_folder_without_weights_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("size", [4, 100, 5000])
def test_a_file_that_is_cut_short_is_named(tmp_path: Path, size: int) -> None:
    trainer = Trainer(RECIPE, torch.device("cpu"))
    trainer.save(tmp_path, {}, dice())
    for name in (WEIGHTS, RESUME):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:size])
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read, it may be cut short"):
        load_checkpoint(tmp_path)
    with pytest.raises(ValueError, match=r"resume\.safetensors cannot be read, it may be cut short"):
        trainer.resume(tmp_path, dice())
