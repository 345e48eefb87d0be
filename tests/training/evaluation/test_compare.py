"""`rddm compare`: the gate lets a better model through and names what got worse."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rddm.spec import ModelSpec
from training.checkpoint import Checkpoint, save_checkpoint
from training.evaluation.compare import main
from training.networks import SmallConfig, make_network

SPEC = ModelSpec(name="tiny", task="restore", licence="test", size_multiple=16, max_steps=10)


def save(folder: Path, shift: float, spec: ModelSpec = SPEC) -> Path:
    """A network that takes `shift` (of the range of 2) away from every pixel."""
    torch.manual_seed(0)
    config = SmallConfig(condition=spec.condition, widths=(8, 8, 8, 8), depths=(1, 1, 1, 1))
    weights = make_network(config).state_dict()
    last = [name for name in weights if name.endswith("bias")][-1]
    weights[last] = weights[last] + shift
    save_checkpoint(folder, Checkpoint(spec, config, weights, {}))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two pairs whose input is 20 levels too bright."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        target = rng.integers(40, 200, (24, 40, 3)).astype(np.uint8)
        for part, picture in (("target", target), ("input", target + 20)):
            (tmp_path / "val" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(tmp_path / "val" / part / f"{name}.png")
    return tmp_path / "val"


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    """One that changes nothing, and one that takes 18 levels away."""
    return save(tmp_path / "idle", 0.0), save(tmp_path / "right", 36 / 255)


def compare(a: Path, b: Path, data: Path, *more: str) -> tuple[int, dict]:
    status = main([str(a), str(b), "--data", str(data), "-o", str(data.parent / "report"), *more])
    return status, json.loads((data.parent / "report" / "mean.json").read_text())


def test_better_weights_pass_and_the_sheet_shows_both(models: tuple[Path, Path], data: Path) -> None:
    status, report = compare(*models, data)
    assert (status, report["passes"], report["reasons"]) == (0, True, [])
    assert report["mean"]["psnr_rgb_gain"] > 10
    with Image.open(data.parent / "report" / "sheet.png") as sheet:
        assert sheet.size == (4 * 256, 2 * 256)


def test_worse_weights_are_refused_by_name(models: tuple[Path, Path], data: Path) -> None:
    status, report = compare(*reversed(models), data)
    assert status == 1
    assert "mean psnr_rgb falls" in report["reasons"][0]
    assert [reason.split()[0] for reason in report["reasons"][1:]] == ["a", "b"]


def test_a_fall_that_is_allowed_passes(models: tuple[Path, Path], data: Path) -> None:
    assert compare(*reversed(models), data, "--fall", "100", "--worst", "100")[0] == 0


def test_models_of_different_tasks_are_not_compared(models: tuple[Path, Path], data: Path, tmp_path: Path, capsys) -> None:
    other = save(tmp_path / "other", 0.0, SPEC.model_copy(update={"task": "derain"}))
    assert main([str(models[0]), str(other), "--data", str(data), "-o", str(data.parent / "report")]) == 2
    assert "'derain'" in capsys.readouterr().err


def test_an_output_that_is_a_file_is_refused(models: tuple[Path, Path], data: Path, capsys) -> None:
    assert main([*map(str, models), "--data", str(data), "-o", str(models[0] / "spec.json")]) == 2
    assert "spec.json is a file; --output takes a folder" in capsys.readouterr().err


def test_nothing_is_written_where_no_folder_was_named(models: tuple[Path, Path], data: Path, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*map(str, models), "--data", str(data)])
    assert "-o" in capsys.readouterr().err
