"""The failures that a card shows are the worst of what was tried, and none is a picture that was fine."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rddm.spec import ModelSpec
from training.checkpoint import Checkpoint, save_checkpoint
from training.evaluation import worst_cases
from training.evaluation.evaluate import Example, Model, load_model
from training.evaluation.metrics import psnr
from training.evaluation.worst_cases import gain, main, pairs, worst
from training.networks import SmallConfig, make_network


def saved(folder: Path, task: str) -> Path:
    """A model that changes nothing."""
    torch.manual_seed(0)
    config = SmallConfig(widths=(8, 8), depths=(0, 1), time_width=8)
    spec = ModelSpec(name="tiny", task=task, licence="CC0-1.0", size_multiple=4)
    save_checkpoint(folder, Checkpoint(spec, config, make_network(config).state_dict(), {}))
    return folder


def example(off: int) -> Example:
    wanted = np.full((16, 16, 3), 100, np.uint8)
    return Example("x", wanted + np.uint8(off), wanted)


def test_the_worst_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worst_cases, "pairs", lambda _task, _count: [example(10), example(20), example(40)])

    def darker(_model: Model, pair: Example, _steps: int | None, _seed: int) -> np.ndarray:
        return pair.given - np.uint8(15)

    monkeypatch.setattr(worst_cases, "restored", darker)
    strips, gains = worst(load_model(saved(tmp_path, "derain")), 3, 2)
    assert [strip[0, 0, 0] for strip in strips] == [140, 110]
    assert gains == sorted(gains)
    assert gains[-1] == pytest.approx(gain(example(20), np.full((16, 16, 3), 105, np.uint8)))


def test_pictures_that_are_fine_are_left_out() -> None:
    examples = pairs("derain", 8)
    assert 0 < len(examples) <= 8
    assert all(psnr(pair.given, pair.target) < 60 for pair in examples)


def test_a_sheet_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(saved(tmp_path / "m", "derain")), "-o", str(tmp_path / "worst.webp"), "--count", "6", "--shown", "2"]) == 0
    assert "in the median" in capsys.readouterr().out
    with Image.open(tmp_path / "worst.webp") as picture:
        assert picture.size == (2 * 3 * 192, 192)


def test_a_task_without_synthesis_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(saved(tmp_path / "m", "desnow")), "-o", str(tmp_path / "worst.webp")]) == 2
    assert "expected one of ['clean', 'deblur', 'dehaze', 'derain'," in capsys.readouterr().err
    assert not (tmp_path / "worst.webp").exists()
