"""What is measured during a run."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.runs import RECIPE, SPEC, Dimmed, dice
from training.evaluation.evaluate import Example
from training.evaluation.validation import Validation, read_pairs
from training.trainer import Trainer


def test_validation_pairs_must_be_complete(tmp_path: Path) -> None:
    for part in ("input", "target"):
        (tmp_path / part).mkdir()
    with pytest.raises(ValueError, match="holds no picture"):
        read_pairs(tmp_path)
    for name in ("input/a.png", "input/b.png", "target/a.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"no partner of the same name.*b\.png"):
        read_pairs(tmp_path)


def test_validation_measures_whole_pictures(tmp_path: Path) -> None:
    network = Trainer(RECIPE, torch.device("cpu")).network.eval()
    picture = np.full((20, 12, 3), 100, np.uint8)
    pairs = Dimmed().draw(2, dice())
    actual = Validation(SPEC, pairs, [Example("a", picture, picture + 5)]).measure(network)
    assert actual["pairs_psnr"] == pytest.approx(34.15, abs=0.01)
    assert actual["pairs_psnr_mean_matched"] > 60
